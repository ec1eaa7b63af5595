/** Compares the reference runner with the float32 reference in Python for a real model. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { compareWithGolden, type Golden, readGolden } from "../assert.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { blocksFor, logitsOf } from "../reference/tiny_runner.ts";
import { threadSeconds } from "../time.ts";

Deno.test({
  name:
    "Reference runner gives the golden's probabilities for SmolLM2 135M in Q4_1, and timers run",
  ignore: realModelMissing(),
  async fn() {
    const file = openGguf(REAL_MODEL);
    const runner = loadReferenceRunner(file, configFromGguf(file));
    file.close();
    // The longest CPU time before a timer runs or Ctrl-C is handled.
    let longest = 0, last = threadSeconds();
    const look = () => {
      const now = threadSeconds();
      longest = Math.max(longest, now - last);
      last = now;
    };
    const timer = setInterval(look, 10);
    const golden = firstTokens(readGolden("smollm2-135m-q4_1"), 24);
    const logits = await logitsOf(runner, golden.ids);
    clearInterval(timer);
    look();
    assert.ok(longest < 0.5, `${longest} s of CPU time without a timer`);
    const { meanKl, perplexityError } = compareWithGolden(golden, logits);
    assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
    assert.ok(perplexityError <= 2e-4, `perplexity off by ${perplexityError}`);

    // One more token after 24 that entered together: the 25th token of the text.
    const { ids, positions } = readGolden("smollm2-135m-q4_1");
    const { tokens } = await runner.submit({
      sequences: [{
        slot: 0,
        tokens: [ids[24]!],
        start: 24,
        blockTables: [blocksFor(32)],
        sampling: GREEDY,
      }],
    }).read();
    assert.equal(tokens[0]![0], positions[24]!.top[0]![0]);
  },
});

/** Returns the golden for only the first `count` tokens. */
function firstTokens(golden: Golden, count: number): Golden {
  const positions = golden.positions.slice(0, count);
  const losses = positions.slice(0, -1).map((p) => -p.next_logprob!);
  return {
    ...golden,
    ids: golden.ids.slice(0, count),
    positions,
    perplexity: Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length),
  };
}
