import assert from "node:assert/strict";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { Engine, type EngineOptions } from "../../engine/run/engine.ts";

const PATH = `${import.meta.dirname}/../../fixtures/models/tiny-llama-q8_0.gguf`;

Deno.test("Engine with the reference runner samples the same tokens under any schedule", async () => {
  const file = openGguf(PATH);
  try {
    const config = configFromGguf(file);
    const text = (seed: number, length: number) =>
      Array.from({ length }, (_, i) => (i * i + seed * (i + 3)) % config.vocabSize);
    // With a penalty and a temperature, the tokens depend on each slot's history and on the
    // position of each draw.
    const requests = [1, 2, 3, 4, 5].map((seed) => ({
      promptIds: [...text(7, 37), ...seed > 3 ? text(7, 11) : text(seed, 3 * seed)],
      sampling: { temperature: 0.8, topK: 0, topP: 1, minP: 0, repeatPenalty: 1.3, seed },
      maxTokens: 24,
      stopIds: [],
    }));
    const run = async (blocks: number, options: EngineOptions, alone = false) => {
      const runner = loadReferenceRunner(file, config, { blocks: [blocks], maxSequences: 4 });
      const engine = new Engine(runner, options);
      const results = [];
      if (alone) {
        for (const request of requests) results.push(...await engine.generate([request]));
      } else results.push(...await engine.generate(requests));
      await engine.stop();
      runner.destroy();
      return { ids: results.map(({ ids }) => ids), stats: engine.stats };
    };

    const { ids: expected } = await run(32, { prefixCacheBlocks: 0 }, true);
    assert.equal(new Set(expected.map(String)).size, requests.length);
    const shared = await run(32, {});
    assert.deepEqual(shared.ids, expected);
    assert.ok(shared.stats.prefix.tokensSaved >= 4 * 32);
    assert.deepEqual((await run(32, { steps: 8, maxBatchTokens: 7 }, true)).ids, expected);
    for (const options of [{ prefixCacheBlocks: 0 }, { steps: 2, maxBatchTokens: 4 }]) {
      const tight = await run(7, options);
      assert.deepEqual(tight.ids, expected);
      assert.ok(tight.stats.preemptions > 0);
    }
  } finally {
    file.close();
  }
});
