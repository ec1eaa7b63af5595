/** A first run behind a proxy that looks into TLS, with a certificate authority of its own. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { BadHub, content } from "../hub/bad_hub.ts";
import { lacks, ROOT, run, which } from "./run_tvllm.ts";

const ignore = lacks("the proxy's certificate", "openssl", "tar");

/** A certificate authority, and what it says of the registry. */
async function makeCertificates(folder: string) {
  const script = `
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
      -subj "/CN=A company's authority" -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -subj /CN=registry.test -keyout key.pem -out request.pem
    printf 'subjectAltName=DNS:registry.test' >names
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
      -extfile names -out cert.pem
    mkdir package
    echo '{ "name": "greeting", "version": "1.0.0", "type": "module", "main": "main.js" }' \
      >package/package.json
    echo 'export default "It came through the proxy.";' >package/main.js
    tar -czf greeting.tgz package`;
  const { code, stderr } = await run("sh", ["-ec", script], { cwd: folder });
  assert.equal(code, 0, stderr);
  const text = (name: string) => Deno.readTextFileSync(join(folder, name));
  return { cert: text("cert.pem"), key: text("key.pem") };
}

/** npm's registry, as the proxy shows it. */
function serveRegistry(folder: string, certificates: { cert: string; key: string }) {
  const tarball = Deno.readFileSync(join(folder, "greeting.tgz"));
  const dist = {
    tarball: "https://registry.test/greeting.tgz",
    integrity: `sha512-${createHash("sha512").update(tarball).digest("base64")}`,
  };
  const version = { name: "greeting", version: "1.0.0", dist };
  const about = {
    name: "greeting",
    "dist-tags": { latest: "1.0.0" },
    versions: { "1.0.0": version },
  };
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...certificates },
    ({ url }) => url.endsWith(".tgz") ? new Response(tarball) : Response.json(about),
  );
}

/** A hub behind TLS. */
function serveHub(endpoint: string, certificates: { cert: string; key: string }) {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...certificates },
    ({ url, headers }) => fetch(`${endpoint}${new URL(url).pathname}`, { headers }),
  );
}

/** Sends every connection to `port`, as a proxy that opens what goes through it. */
function serveProxy(port: number) {
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

/** The launchers, and a program that needs a package. */
function makeProject(folder: string): string {
  const root = join(folder, "project");
  Deno.mkdirSync(join(root, "cli"), { recursive: true });
  for (
    const file of ["tvllm", "package.json"].concat(
      ["find_deno.sh", "launch.sh", "launcher.mjs", "permissions.mjs", "permissions.txt"]
        .map((name) => `cli/${name}`),
    )
  ) {
    Deno.copyFileSync(join(ROOT, file), join(root, file));
  }
  Deno.writeTextFileSync(join(root, "deno.json"), '{ "nodeModulesDir": "none" }');
  Deno.writeTextFileSync(
    join(root, "cli/main.ts"),
    'import greeting from "npm:greeting@1.0.0"; console.log(greeting);\n',
  );
  return root;
}

Deno.test({
  name: "a first run downloads packages behind a proxy with its own certificate authority",
  ignore,
  fn: async () => {
    const folder = Deno.makeTempDirSync();
    await using registry = serveRegistry(folder, await makeCertificates(folder));
    await using proxy = serveProxy(registry.addr.port);
    const root = makeProject(folder);
    let runs = 0;
    const first = (launcher: readonly [string, string], more: Record<string, string> = {}) =>
      run(launcher[0], [launcher[1], "list"], {
        env: {
          HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
          NPM_CONFIG_REGISTRY: "https://registry.test/",
          DENO_DIR: join(folder, `deno ${runs++}`), // cold
          SSL_CERT_FILE: join(folder, "ca.pem"), // the system's store
          ...more,
        },
      });
    const launchers = [["sh", join(root, "tvllm")]] as [string, string][];
    if (which("node") !== undefined) launchers.push(["node", join(root, "cli/launcher.mjs")]);
    for (const launcher of launchers) {
      const { stdout, stderr, code } = await first(launcher);
      assert.equal(stdout, "It came through the proxy.\n", stderr);
      assert.equal(code, 0);
    }
    assert.match(proxy.asked[0]!, /^CONNECT registry\.test:443 /);
    // What the user has set counts: here, that the system's store is not to be trusted.
    const { stderr, code } = await first(launchers[0]!, { DENO_TLS_CA_STORE: "mozilla" });
    assert.equal(code, 1);
    assert.match(stderr, /UnknownIssuer/);
  },
});

Deno.test({
  name: "pull trusts the system's certificates behind such a proxy, and else says what to set",
  ignore,
  fn: async () => {
    const folder = Deno.makeTempDirSync();
    const certificates = await makeCertificates(folder);
    await using hub = new BadHub({ "model.gguf": content(1000) });
    await using front = serveHub(hub.endpoint, certificates);
    await using proxy = serveProxy(front.addr.port);
    const pull = (launcher: readonly [string, string], more: Record<string, string> = {}) =>
      run(launcher[0], [launcher[1], "pull", "hf:org/repo"], {
        env: {
          HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
          HF_ENDPOINT: "https://registry.test",
          TVLLM_CACHE: Deno.makeTempDirSync(),
          SSL_CERT_FILE: join(folder, "ca.pem"),
          ...more,
        },
      });
    const launchers = [["sh", join(ROOT, "tvllm")]] as [string, string][];
    if (which("node") !== undefined) launchers.push(["node", join(ROOT, "cli/launcher.mjs")]);
    for (const launcher of launchers) {
      const { stdout, stderr, code } = await pull(launcher);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /model\.gguf\n$/);
    }
    const { stderr, code } = await pull(launchers[0]!, { DENO_TLS_CA_STORE: "mozilla" });
    assert.equal(code, 3);
    assert.match(
      stderr,
      /^error: Cannot download .*: the certificate's authority is not trusted .*; set DENO_TLS_CA_STORE=mozilla,system, or DENO_CERT to its file\n$/,
    );
  },
});
