/** A proxy that inspects TLS, as in companies: it answers with its own authority's certificates. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { BadHub, content } from "../hub/bad_hub.ts";
import { run } from "./run_tvllm.ts";

/** Makes a certificate authority in `folder`, and returns its certificate for `registry.test`. */
export async function makeCertificates(folder: string) {
  const script = `
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
      -subj "/CN=A company's authority" -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -subj /CN=registry.test -keyout key.pem -out request.pem
    printf 'subjectAltName=DNS:registry.test' >names
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
      -extfile names -out cert.pem`;
  const { code, stderr } = await run("sh", ["-ec", script], { cwd: folder });
  assert.equal(code, 0, stderr);
  const text = (name: string) => Deno.readTextFileSync(join(folder, name));
  return { cert: text("cert.pem"), key: text("key.pem") };
}

/** Starts a proxy that sends every connection to `port`, as if it decrypted the traffic. */
export function serveProxy(port: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const asked: string[] = [];
  const connect = async (from: Deno.TcpConn) => {
    const request = new Uint8Array(4096);
    const length = await from.read(request) ?? 0;
    asked.push(new TextDecoder().decode(request.subarray(0, length)).split("\r\n")[0]!);
    const to = await Deno.connect({ hostname: "127.0.0.1", port });
    await from.write(new TextEncoder().encode("HTTP/1.1 200 Connection established\r\n\r\n"));
    await Promise.allSettled([
      from.readable.pipeTo(to.writable),
      to.readable.pipeTo(from.writable),
    ]);
  };
  const done = (async () => {
    const open: Promise<void>[] = [];
    for await (const connection of listener) open.push(connect(connection));
    await Promise.all(open);
  })();
  return {
    asked,
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await done;
    },
  };
}

/** Serves the hub at `endpoint` over TLS. */
function serveHub(endpoint: string, certificates: { cert: string; key: string }) {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...certificates },
    ({ url, headers }) => fetch(`${endpoint}${new URL(url).pathname}`, { headers }),
  );
}

/** Starts a hub with `org/repo` behind such a proxy. Returns the environment to reach it. */
export async function openHubBehindProxy() {
  const folder = Deno.makeTempDirSync();
  const stack = new AsyncDisposableStack();
  const hub = stack.use(new BadHub({ "model.gguf": content(1000) }));
  const front = stack.use(serveHub(hub.endpoint, await makeCertificates(folder)));
  const { port } = stack.use(serveProxy(front.addr.port));
  const env = {
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
    HF_ENDPOINT: "https://registry.test",
    SSL_CERT_FILE: join(folder, "ca.pem"), // the system's store
  };
  return { env, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
