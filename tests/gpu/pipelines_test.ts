/** Kernels are compiled before requests are served or measured, and none during a request. */

import assert from "node:assert/strict";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { Engine } from "../../engine/run/engine.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";
import { tokenCounts, tokensTogether, tuningFor } from "../../kernels/tuning.ts";

/** A dense model with mixed formats, one with experts, and one with recurrent layers too. */
const MODELS = [["qwen3", "Q4_K_M"], ["qwen3moe", "Q4_0"], ["qwen35moe", "Q4_0"]] as const;

for (const [architecture, format] of MODELS) {
  Deno.test(`requests compile no kernel of ${architecture} in ${format} after compileAll()`, async () => {
    const gpu = await openGpu();
    const runner = await withFile("m.gguf", tinyModel(architecture, format), async (path) => {
      const file = openModelFile(path);
      try {
        const { config, weights } = readModel(file);
        const options = { contextLength: 128, maxSequences: 8 };
        return await GpuRunner.load(gpu, { file: weights, config }, options);
      } finally {
        file.close();
      }
    });
    await runner.compileAll();
    const { createComputePipeline } = gpu.device;
    let compiled = 0;
    gpu.device.createComputePipeline = (descriptor) => {
      compiled++;
      return createComputePipeline.call(gpu.device, descriptor);
    };
    assert.ok(runner.pipelines.count > 10 && runner.pipelines.milliseconds > 0);
    const engine = new Engine(runner, { prefixCacheBlocks: 0 });
    // Prompts and batches of all sizes; answers that are greedy, or sampled with a repeat penalty.
    for (let count = 1; count <= 8; count++) {
      await engine.generate(Array.from({ length: count }, (_, i) => ({
        promptIds: Array.from({ length: 1 + (count * 7 + i * 5) % 30 }, (_, t) => t + 1),
        maxTokens: 3,
        sampling: i % 2 === 0 ? { temperature: 0 } : { repeatPenalty: 1.2, topP: 0.9, seed: i },
      })));
    }
    await engine.score(Array.from({ length: 45 }, (_, t) => t + 1), { top: 1 });
    await engine.stop();
    assert.equal(compiled, 0);
    runner.destroy();
  });
}

Deno.test("loading a model compiles all kernels on a GPU, and the usual ones on a software driver", async () => {
  const file = openGguf("fixtures/models/tiny-llama-q8_0.gguf");
  const { config, weights } = readModel(file);
  for (const driver of ["software", "hardware"] as const) {
    const gpu = await openGpu();
    gpu.device.createComputePipeline = () => ({}) as GPUComputePipeline;
    const runner = await GpuRunner.load(gpu, { file: weights, config }, {
      contextLength: 64,
      tuning: tuningFor(driver),
    });
    const { count } = runner.pipelines;
    // The kernels that short prompts and their answers need.
    for (const tokens of [1, 8, 16, 64]) {
      for (const { pipeline } of runner.launches(tokens, "prompt")) pipeline.compiled();
    }
    for (const { pipeline } of runner.launches(1, "draw")) pipeline.compiled();
    assert.equal(runner.pipelines.count, count, driver);
    await runner.compileAll();
    if (driver === "hardware") assert.equal(runner.pipelines.count, count);
    else assert.ok(runner.pipelines.count > count);
    runner.destroy();
  }
  file.close();
});

Deno.test("kernels are compiled one by one, with a pause before each that can stop the work", async () => {
  const file = openGguf("fixtures/models/tiny-llama-q8_0.gguf");
  const { config, weights } = readModel(file);
  const gpu = await openGpu();
  const { createComputePipeline } = gpu.device;
  let compiled = 0;
  let most = 0;
  gpu.device.createComputePipeline = (descriptor) => {
    most = Math.max(most, ++compiled);
    return createComputePipeline.call(gpu.device, descriptor);
  };
  const pause = () => {
    compiled = 0;
    return Promise.resolve();
  };
  const options = { contextLength: 64, pause };
  const runner = await GpuRunner.load(gpu, { file: weights, config }, options);
  assert.equal(most, 1);
  let pauses = 0;
  const { count } = runner.pipelines;
  await assert.rejects(
    runner.compileAll(() => ++pauses > 3 ? Promise.reject(new Error("enough")) : pause()),
    /^Error: enough$/,
  );
  assert.equal(runner.pipelines.count, count + 3);
  await runner.compileAll(pause);
  assert.equal(most, 1);
  runner.destroy();
  file.close();
});

Deno.test("tokenCounts() lists every number of tokens for which a step can have kernels", () => {
  for (const driver of ["software", "hardware"] as const) {
    const tuning = tuningFor(driver);
    const counts = tokenCounts(tuning);
    for (let tokens = 1; tokens <= tuning.batchTokens; tokens++) {
      assert.ok(counts.includes(tokensTogether(tuning, tokens)), `${driver}, ${tokens}`);
    }
  }
  assert.deepEqual(tokenCounts(tuningFor("hardware")), [1, 2, 4, 8, 32]);
  // With 64 tokens, each of 128 experts gets four on average.
  assert.deepEqual(tokenCounts(tuningFor("software"), { count: 128, slots: 8 }), [1, 2, 3, 4]);
});
