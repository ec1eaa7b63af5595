/** Serving of layers with a window: blocks that left it are released, and answers stay the same. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

const text = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => 3 + (i * i + seed * (i + 7)) % 290);
const request = (promptIds: number[]) => ({
  promptIds,
  sampling: GREEDY,
  maxTokens: 60,
  stopIds: [],
});
// The first two share 48 tokens.
const REQUESTS = [text(1, 70), [...text(1, 48), ...text(2, 9)], text(3, 5)].map(request);

function engineOf(blocks: readonly number[]): Engine {
  return withFile("m.gguf", tinyModel("gemma3", "F16"), (path) => {
    const file = openGguf(path);
    const limits = { blocks, maxSequences: 4, maxBatchTokens: 24 };
    const runner = loadReferenceRunner(file, configFromGguf(file), limits);
    file.close();
    return new Engine(runner);
  });
}

Deno.test("Engine releases blocks that left a window, and shares prefixes whose window is cached", async () => {
  const alone = engineOf([16, 16]);
  const expected = [];
  for (const one of REQUESTS) {
    let most = 0;
    const stream = alone.submit(one);
    const ids: number[] = [];
    for await (const { id } of stream) {
      ids.push(id);
      most = Math.max(most, alone.stats.kvGroups[1]!.used);
    }
    expected.push(ids);
    // The window of 13 tokens and the token that enters span at most two blocks; a third is new.
    assert.ok(most <= 3, `${most} blocks held for a window of 13`);
  }
  assert.ok(alone.stats.prefix.tokensSaved >= 32, `${alone.stats.prefix.tokensSaved} tokens saved`);
  assert.deepEqual(alone.stats.kvGroups.map(({ used }) => used), [0, 0]);
  await alone.stop();

  // The window has so few blocks that the three requests together must reuse some.
  const together = engineOf([24, 9]);
  const answers = await together.generate(REQUESTS);
  assert.deepEqual(answers.map(({ ids }) => ids), expected);
  const { kvGroups, preemptions } = together.stats;
  assert.equal(preemptions, 0);
  assert.ok(kvGroups[1]!.allocations > 9, "no block was used again");
  await together.stop();
});

Deno.test("Engine.score() reuses the few blocks of a window, with the same scores", async () => {
  const ids = text(4, 200);
  const [plenty, few] = [engineOf([16, 16]), engineOf([16, 5])];
  const expected = await plenty.score(ids, { top: 3 });
  assert.equal(expected.window, 200);
  assert.deepEqual(await few.score(ids, { top: 3 }), expected);
  for (const engine of [plenty, few]) {
    assert.deepEqual(engine.stats.kvGroups.map(({ used }) => used), [0, 0]);
    await engine.stop();
  }
});
