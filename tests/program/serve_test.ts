/** `tvllm serve` as a program: how it listens, and how it ends. */

import assert from "node:assert/strict";
import { baseEnv, LAUNCHER, runTvllm } from "./run_tvllm.ts";
import { complete, type Served, withServer } from "./served.ts";

/** Serves the built-in model through the launcher. */
function serve(args: readonly string[], use: (served: Served) => Promise<void>) {
  return withServer({ command: "sh", args: [LAUNCHER], env: baseEnv() }, args, use);
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

Deno.test("tvllm serve reports that it cannot listen", async () => {
  await serve([], async ({ port }) => {
    const { code, stderr } = await runTvllm(["serve", "--port", `${port}`]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: Cannot listen on 127\.0\.0\.1:\d+: .*--port/m);
  });
});
