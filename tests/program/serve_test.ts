/** `tvllm serve` as a program: how it listens, and how it ends. */

import assert from "node:assert/strict";
import { baseEnv, LAUNCHER, runTvllm } from "./run_tvllm.ts";
import { complete, type Served, withServer } from "./served.ts";

/** Serves the built-in model through the launcher. */
function serve(
  args: readonly string[],
  use: (served: Served) => Promise<void>,
  env: Record<string, string> = {},
) {
  return withServer({ command: "sh", args: [LAUNCHER], env: { ...baseEnv(), ...env } }, args, use);
}

Deno.test("tvllm serve answers, and ends after SIGTERM", async () => {
  await serve([], async ({ address, child, stderr }) => {
    const greedy = { prompt: "Once upon a time", temperature: 0, max_tokens: 8 };
    const first = await (await complete(address, greedy)).json();
    assert.equal(first.usage.completion_tokens, 8);
    assert.match(await (await fetch(address)).text(), /<title>tvllm<\/title>/);

    // A running stream is completed after the signal.
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

Deno.test("tvllm serve answers 503 to new requests while it shuts down, until earlier ones are done", async () => {
  await serve([], async ({ address, port, child }) => {
    const body = JSON.stringify({ prompt: "Once upon a time", max_tokens: 4 });
    using connection = await Deno.connect({ port });
    const send = (text: string) => connection.write(new TextEncoder().encode(text));
    const received = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
    await send(
      `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n` +
        `connection: close\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    // The server sends this when it starts to read the body.
    assert.match((await received.read()).value!, /^HTTP\/1\.1 100 /);
    child.kill("SIGTERM");
    const health = async () => {
      const response = await fetch(`${address}/health`);
      return [response.status, (await response.json()).status];
    };
    let last: unknown[];
    while ((last = await health())[0] === 200);
    assert.deepEqual(last, [503, "shutting down"]);
    const refused = await complete(address, { prompt: "Hi" });
    assert.equal(refused.status, 503);
    assert.match((await refused.json()).error.message, /the server is shutting down/);
    await send(body);
    let text = "";
    for (let read; !(read = await received.read()).done;) text += read.value;
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*"completion_tokens":4/);
    assert.equal((await child.status).code, 143);
  });
});

Deno.test("tvllm serve ends earlier requests after --grace", async () => {
  await serve(["--grace", "0"], async ({ address, child }) => {
    const long = { prompt: "Once", max_tokens: 2000, ignore_eos: true, stream: true };
    const reader = (await complete(address, long)).body!.pipeThrough(new TextDecoderStream())
      .getReader();
    let text = (await reader.read()).value!;
    child.kill("SIGTERM");
    for (let read; !(read = await reader.read()).done;) text += read.value;
    assert.match(text, /shutting down.*\n\ndata: \[DONE\]\n\n$/);
    assert.equal((await child.status).code, 143);
  });
});

Deno.test("tvllm serve takes its key from --api-key, else from TVLLM_API_KEY if that is not empty", async () => {
  const status = async (address: string, key: string) => {
    const response = await fetch(`${address}/metrics`, {
      headers: { authorization: `Bearer ${key}` },
    });
    await response.body?.cancel();
    return response.status;
  };
  const cases = [
    [[], "", [200, 200]],
    [[], "one", [200, 401]],
    [["--api-key", "two"], "one", [401, 200]],
  ] as const;
  for (const [args, TVLLM_API_KEY, expected] of cases) {
    await serve(args, async ({ address }) => {
      assert.deepEqual([await status(address, "one"), await status(address, "two")], expected);
    }, { TVLLM_API_KEY });
  }
  const empty = await runTvllm(["serve", "--api-key", ""]);
  assert.equal(empty.code, 2);
  assert.match(empty.stderr, /^error: Cannot [^\n]*--api-key/);
});

Deno.test("tvllm serve --cors allows an origin however it is written", async () => {
  await serve(["--cors", "HTTPS://Example.com:443/"], async ({ address }) => {
    const status = async (origin: string) => {
      const response = await fetch(`${address}/metrics`, { headers: { origin } });
      await response.body?.cancel();
      return [response.status, response.headers.get("access-control-allow-origin")];
    };
    assert.deepEqual(await status("https://example.com"), [200, "https://example.com"]);
    assert.deepEqual(await status("https://example.com:444"), [403, null]);
  });
});

Deno.test("tvllm serve refuses a --cors that no page can have as its origin", async () => {
  const wrong = [
    "",
    "example.com",
    "https://a.example/chat",
    "https://a@b.example",
    "https://a.example/#",
    "file:///a",
  ];
  for (const origin of wrong) {
    const { code, stderr } = await runTvllm(["serve", "--cors", origin]);
    assert.equal(code, 2, origin);
    assert.match(
      stderr,
      /^error: Cannot [^\n]*--cors[^\n]*Expected \*, or an origin such as [^\n]*\n$/,
    );
  }
});

Deno.test("tvllm serve reports that it cannot listen", async () => {
  await serve([], async ({ port }) => {
    const { code, stderr } = await runTvllm(["serve", "--port", `${port}`]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: Cannot listen on 127\.0\.0\.1:\d+: .*--port/m);
  });
});
