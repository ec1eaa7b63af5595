/** `tvllm serve` as a program: what it listens to, what hostile clients do to it, how it ends. */

import assert from "node:assert/strict";
import { baseEnv, LAUNCHER, runTvllm } from "./run_tvllm.ts";
import { complete, type Served, withServer } from "./served.ts";

/** Serves the built-in model by the launcher. */
function serve(args: readonly string[], use: (served: Served) => Promise<void>) {
  return withServer({ command: "sh", args: [LAUNCHER], env: baseEnv() }, args, use);
}

/** Sends bytes over a connection of its own; the beginning of what comes back, "" if nothing does. */
async function sendRaw(port: number, bytes: Uint8Array, half = false): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    if (half) await connection.closeWrite();
  })().catch(() => {}); // the server may close it before all is written
  const buffer = new Uint8Array(1024);
  let count: number | null = null;
  try {
    count = await connection.read(buffer);
  } catch {
    // Reset by the server.
  }
  if (half) await writing;
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

const encode = (text: string) => new TextEncoder().encode(text);

function post(body: string | Uint8Array, headers = ""): Uint8Array {
  const bytes = typeof body === "string" ? encode(body) : body;
  const head = encode(
    `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}` +
      `Content-Length: ${bytes.length}\r\n\r\n`,
  );
  return new Uint8Array([...head, ...bytes]);
}

Deno.test("tvllm serve answers, withstands hostile connections, and ends after SIGTERM", async () => {
  await serve([], async ({ address, port, child, stderr }) => {
    const greedy = { prompt: "Once upon a time", temperature: 0, max_tokens: 8 };
    const first = await (await complete(address, greedy)).json();
    assert.equal(first.usage.completion_tokens, 8);
    assert.match(await (await fetch(address)).text(), /<title>tvllm<\/title>/);

    // Connections that never finish their request.
    const slow = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      const begun = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n";
      await connection.write(encode(i % 2 === 0 ? begun : `${begun}\r\n{"pro`));
      return connection;
    }));
    assert.match(await sendRaw(port, post("x".repeat(10_000_000))), /^(HTTP\/1\.1 413 |$)/);
    const chunked = "Transfer-Encoding: chunked\r\n\r\n" +
      `100000\r\n${"x".repeat(0x100000)}\r\n`.repeat(10);
    const start = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
    assert.match(await sendRaw(port, encode(start + chunked)), /^(HTTP\/1\.1 413 |$)/);
    const headers = Array.from({ length: 100_000 }, (_, i) => `X-${i}: y\r\n`).join("");
    assert.match(await sendRaw(port, post("{}", headers)), /^(HTTP\/1\.1 4|$)/);
    const notText = new Uint8Array([0x22, 0xff, 0xfe, 0x22]);
    assert.match(await sendRaw(port, post(notText)), /^HTTP\/1\.1 400 /);
    assert.match(await sendRaw(port, post('{"prompt":')), /^HTTP\/1\.1 400 /);
    assert.match(await sendRaw(port, encode("\x16\x03\x01\x02\r\n\r\n")), /^(HTTP\/1\.1 400 |$)/);
    await sendRaw(port, post(JSON.stringify({ ...greedy, max_tokens: 100 })), true);

    const again = await (await complete(address, greedy)).json();
    assert.deepEqual(again.choices, first.choices);
    for (const connection of slow) connection.close();

    // A stream that runs ends by itself; new requests are refused.
    const streamed = await complete(address, { ...greedy, max_tokens: 400, stream: true });
    const reader = streamed.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    child.kill("SIGTERM");
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    assert.match(text, /data: \[DONE\]\n\n$/);
    assert.equal((await child.status).code, 143);
    assert.match(stderr(), /POST \/v1\/completions 200 \d+ ms, 8 tokens after \d+/);
    assert.doesNotMatch(stderr(), /legacy|error:/);
  });
});

Deno.test("tvllm serve says so if it cannot listen", async () => {
  await serve([], async ({ port }) => {
    const { code, stderr } = await runTvllm(["serve", "--port", `${port}`]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: Cannot listen on 127\.0\.0\.1:\d+: .*--port/m);
  });
});
