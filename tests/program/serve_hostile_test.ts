/** Hostile connections to `tvllm serve` get the right status or are closed, and affect nothing. */

import assert from "node:assert/strict";
import { baseEnv, lacks, LAUNCHER, until } from "./run_tvllm.ts";
import { complete, type Served, withServer } from "./served.ts";

const GREEDY = { prompt: "Once upon a time", temperature: 0, max_tokens: 8 };
const HEAD = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";

const encode = (text: string) => new TextEncoder().encode(text);

/** A request for a completion with this body. */
function post(body: string | Uint8Array, headers = ""): Uint8Array {
  const bytes = typeof body === "string" ? encode(body) : body;
  const head = `${HEAD}Connection: close\r\n${headers}Content-Length: ${bytes.length}\r\n\r\n`;
  return new Uint8Array([...encode(head), ...bytes]);
}

/**
 * Sends these bytes. Returns the status of the answer, or "" if the connection is closed. With
 * `half`, the sending side is closed after the bytes.
 */
async function statusOf(port: number, bytes: Uint8Array, half = false): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    if (half) await connection.closeWrite();
  })().catch(() => {}); // the server may close it before all is written
  const buffer = new Uint8Array(1024);
  const count = await connection.read(buffer).catch(() => null); // reset by the server
  if (half) await writing;
  const text = new TextDecoder().decode(buffer.subarray(0, count ?? 0));
  return /^HTTP\/1\.1 (\d+) /.exec(text)?.[1] ?? text;
}

/** Opens connections that never finish their request. */
function openSlow(port: number): Promise<Deno.TcpConn[]> {
  const begun = [
    "",
    "POST /v1",
    HEAD,
    `${HEAD}Content-Length: 100\r\n\r\n{"pro`,
    `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro\r\n`,
  ];
  return Promise.all(Array.from({ length: 50 }, async (_, i) => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(encode(begun[i % begun.length]!));
    return connection;
  }));
}

const chunks = `100000\r\n${"x".repeat(0x100000)}\r\n`.repeat(10);
const manyHeaders = Array.from({ length: 100_000 }, (_, i) => `X-${i}: y\r\n`).join("");
const large = "x".repeat(10_000_000);

/** Requests, and the statuses that are right for them. */
const REQUESTS: Readonly<Record<string, readonly [bytes: Uint8Array, statuses: RegExp]>> = {
  "a body of 10 MB": [post(large), /^(413|)$/],
  "a body of 10 MB in chunks": [
    encode(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`),
    /^(413|)$/,
  ],
  "100,000 headers": [post("{}", manyHeaders), /^(4\d\d|)$/],
  "a header of 10 MB": [post("{}", `X-Large: ${large}\r\n`), /^(4\d\d|)$/],
  "an address of 10 MB": [
    encode(`GET /${large} HTTP/1.1\r\nHost: localhost\r\n\r\n`),
    /^(4\d\d|)$/,
  ],
  "a body that is not UTF-8": [post(new Uint8Array([0x22, 0xff, 0xfe, 0x22])), /^400$/],
  "a string in a body that is not UTF-8": [
    post(new Uint8Array([...encode('{"prompt": "'), 0xc3, 0x28, ...encode('"}')])),
    /^400$/,
  ],
  "a header that is not UTF-8": [
    new Uint8Array([...encode(`${HEAD}X-Request-Id: `), 0xff, ...encode("\r\n\r\n")]),
    /^400$/,
  ],
  "a non-UTF-8 address": [encode("GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"), /^404$/],
  "half of a JSON object": [post('{"prompt":'), /^400$/],
  "two JSON objects": [post("{}{}"), /^400$/],
  "a number that JSON does not have": [post('{"prompt": "a", "temperature": NaN}'), /^400$/],
  "a number that is too large": [post('{"prompt": "a", "max_tokens": 1e999}'), /^400$/],
  "a list as body": [post("[]"), /^400$/],
  "an empty body": [post(""), /^400$/],
  "lists within lists": [post("[".repeat(1_000_000)), /^400$/],
  "objects within objects": [post('{"a":'.repeat(100_000)), /^400$/],
  "a prototype": [post('{"__proto__": {"prompt": "a"}, "constructor": 1}'), /^400$/],
  "two lengths": [encode(`${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`), /^(400|)$/],
  "a negative length": [encode(`${HEAD}Content-Length: -1\r\n\r\n{}`), /^(400|)$/],
  "a chunk without a length": [
    encode(`${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`),
    /^(400|)$/,
  ],
  "a TLS greeting": [encode("\x16\x03\x01\x02\r\n\r\n"), /^(400|)$/],
  "zeros": [new Uint8Array(100_000), /^(400|)$/],
};

Deno.test("tvllm serve withstands hostile connections", async (t) => {
  const program = { command: "sh", args: [LAUNCHER], env: baseEnv() };
  await withServer(program, [], async ({ address, port, stderr }: Served) => {
    const answer = async () => (await (await complete(address, GREEDY)).json()).choices;
    const first = await answer();
    const slow = await openSlow(port);
    for (const [name, [bytes, statuses]] of Object.entries(REQUESTS)) {
      await t.step(name, async () => {
        assert.match(await statusOf(port, bytes), statuses);
        assert.deepEqual(await answer(), first);
      });
    }

    const long = JSON.stringify({ ...GREEDY, max_tokens: 400, ignore_eos: true });
    await t.step("a connection that is half closed before its answer", async () => {
      assert.match(await statusOf(port, post(long), true), /^(200|)$/);
      await until(
        () => /completions 499 /.exec(stderr()) ?? undefined,
        stderr,
      );
    });
    await t.step("a connection that is half closed within its request", async () => {
      for (const text of ["POST /v1", HEAD, `${HEAD}Content-Length: 100\r\n\r\n{"pro`]) {
        assert.match(await statusOf(port, encode(text), true), /^(400|)$/);
      }
    });
    await t.step("clients that disconnect, or never read", async () => {
      const stream = JSON.stringify({ ...JSON.parse(long), stream: true });
      for (let i = 0; i < 20; i++) {
        const connection = await Deno.connect({ hostname: "127.0.0.1", port });
        await connection.write(post(stream));
        if (i % 2 === 0) connection.close();
        else slow.push(connection);
      }
      assert.deepEqual(await answer(), first);
    });

    for (const connection of slow) connection.close();
    await until(async () => {
      const metrics = await (await fetch(`${address}/metrics`)).text();
      const idle = /^llamacpp:requests_processing 0$/m.test(metrics) &&
        /^llamacpp:requests_deferred 0$/m.test(metrics) &&
        /^tvllm:kv_blocks_used 0$/m.test(metrics);
      return idle || undefined;
    }, () => `Something is still running: ${stderr()}`);
    assert.deepEqual(await answer(), first);
    assert.doesNotMatch(stderr(), /error:|completions 500 /);
  });
});

Deno.test({
  name: "tvllm serve finishes its answers and says why it ends if it runs out of file descriptors",
  ignore: Deno.build.os === "windows" || lacks("connections without end", "sh"),
  fn: async () => {
    const args = ["-c", 'ulimit -n 100 && exec sh "$0" "$@"', LAUNCHER];
    const program = { command: "sh", args, env: baseEnv() };
    await withServer(program, [], async ({ address, port, child, stderr }) => {
      const long = { ...GREEDY, max_tokens: 1000, ignore_eos: true, stream: true };
      const streamed = await complete(address, long);
      const open: Deno.TcpConn[] = [];
      try {
        while (open.length < 200) open.push(await Deno.connect({ hostname: "127.0.0.1", port }));
      } catch {
        // Refused.
      }
      assert.match(await streamed.text(), /data: \[DONE\]\n\n$/);
      assert.equal((await child.status).code, 1);
      assert.match(stderr(), /^error: Cannot accept connections any more: .*ulimit -n/m);
      assert.doesNotMatch(stderr(), /Uncaught/);
      for (const connection of open) connection.close();
    });
  },
});
