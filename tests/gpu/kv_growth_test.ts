import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { kvBlockBytes, kvGroups } from "../../engine/model/kv_groups.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { limitCacheMemory } from "./little_memory.ts";

const PATH = `${import.meta.dirname}/../../fixtures/models/tiny-llama-q8_0.gguf`;
const FIRST_BLOCKS = 6, MOST_BLOCKS = 40;

const requests = [1, 2, 3, 4].map((seed) => ({
  promptIds: Array.from({ length: 10 + seed }, (_, i) => (i * i + seed * (i + 3)) % 294),
  maxTokens: 70,
  sampling: GREEDY,
  stopIds: [],
}));

/** Serves the requests on a device that has memory for `room` blocks of KV cache. */
async function serve(room: number) {
  const file = openGguf(PATH);
  try {
    const config = configFromGguf(file);
    const options = { contextLength: 512, blocks: [FIRST_BLOCKS], maxSequences: 4 };
    const runner = await GpuRunner.load(await openGpu(), { file, config }, options);
    const { gpu } = runner;
    const block = kvBlockBytes(config, kvGroups(config)[0]!, 2);
    assert.equal(gpu.memory.kv, FIRST_BLOCKS * block);
    const faults = limitCacheMemory(gpu, room * block);
    const engine = new Engine(runner, { maxBlocks: [MOST_BLOCKS] });
    const results = await engine.generate(requests);
    const { blocks, preemptions } = engine.stats;
    const kvBlocks = gpu.memory.kv / block;
    await engine.stop();
    assert.equal(gpu.failure, undefined);
    runner.destroy();
    assert.ok(results.every(({ finish }) => finish === "length"));
    const ids = results.map(({ ids }) => ids);
    return { ids, blocks, preemptions, kvBlocks, refused: faults.refused };
  } finally {
    file.close();
  }
}

Deno.test("a KV cache that cannot grow on the device keeps its size, and every request is served", async () => {
  const enough = await serve(Infinity);
  assert.deepEqual([enough.refused, enough.preemptions], [0, 0]);
  assert.ok(enough.ids.every((ids) => ids.length === 70));
  assert.equal(enough.kvBlocks, enough.blocks.total);

  // The old and the new cache exist together. With room for 15 blocks, 3 instead of 6 are added;
  // with room for 25, the last growth is 1 instead of 12.
  for (const [room, most] of [[6, 6], [15, 9], [25, 13]] as const) {
    const little = await serve(room);
    assert.deepEqual(little.ids, enough.ids);
    assert.deepEqual([little.blocks.total, little.blocks.budget, little.kvBlocks], [
      most,
      most,
      most,
    ]);
    assert.ok(little.preemptions > 0 && little.refused > 0);
  }
});
