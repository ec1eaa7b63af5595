/** The device's work for a step: dispatches per layer, passes and writes per step. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tuningFor } from "../../kernels/tuning.ts";
import { withFile } from "../files/on_disk.ts";

type Model = Parameters<typeof tinyModel>;

/** Loads a model for a class of adapter. Its steps can run only if it `compiles`. */
async function load(
  [architecture, format]: Model,
  { driver, compiles }: { readonly driver: "software" | "hardware"; readonly compiles: boolean },
): Promise<GpuRunner> {
  const gpu = await openGpu();
  if (!compiles) gpu.device.createComputePipeline = () => ({}) as GPUComputePipeline;
  return await withFile("m.gguf", tinyModel(architecture, format), async (path) => {
    const file = openModelFile(path);
    try {
      const { config, weights } = readModel(file);
      return await GpuRunner.load(gpu, { file: weights, config }, {
        contextLength: 64,
        maxSequences: 1,
        tuning: tuningFor(driver),
      });
    } finally {
      file.close();
    }
  });
}

/** Dispatches per layer when two workgroups share a token's positions. */
const EXPECTED: readonly (readonly [Model, software: number, hardware: number])[] = [
  // q+k+v, attention, output, gate+up, down, and RoPE or, if attention does its work, the merge.
  [["llama", "Q4_0"], 6, 6],
  [["qwen2", "Q8_0"], 6, 6],
  // RoPE's kernel or attention normalizes the heads.
  [["qwen3", "F16"], 6, 6],
  // Two more for the norms after the branches.
  [["gemma3", "F16"], 8, 8],
  // The values' weights have another format than those of queries and keys.
  [["qwen3", "Q4_K_M"], 7, 7],
];

for (const [model, ...counts] of EXPECTED) {
  for (const [i, driver] of (["software", "hardware"] as const).entries()) {
    Deno.test(`${model.join(" in ")} takes ${counts[i]} dispatches per layer, ${driver}`, async () => {
      const runner = await load(model, { driver, compiles: false });
      const { layers } = runner.config;
      const names = runner.launches(1, "decode", 2).map(({ pipeline }) => pipeline.spec.name);
      // The embedding, the output head, and two kernels of sampling.
      const outside = 4;
      assert.equal(names.length, outside + counts[i]! * layers.length, names.join(" "));
      runner.destroy();
    });
  }
}

Deno.test("a decode step takes one pass and one write, and a chain of steps one submit", async () => {
  const runner = await load(["llama", "Q4_0"], { driver: "software", compiles: true });
  const { device } = runner.gpu;
  const seen = { passes: 0, writes: 0, submits: 0 };
  const { createCommandEncoder } = device;
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder.call(device, descriptor);
    const { beginComputePass } = encoder;
    encoder.beginComputePass = (descriptor) => {
      seen.passes++;
      return beginComputePass.call(encoder, descriptor);
    };
    return encoder;
  };
  const { writeBuffer, submit } = device.queue;
  device.queue.writeBuffer = (...args) => {
    seen.writes++;
    writeBuffer.apply(device.queue, args);
  };
  device.queue.submit = (commands) => {
    seen.submits++;
    submit.call(device.queue, commands);
  };
  const row = { slot: 0, blockTables: [[0, 1]], sampling: GREEDY };
  const step = async (steps: number, start: number) => {
    Object.assign(seen, { passes: 0, writes: 0, submits: 0 });
    await runner.submit({ sequences: [{ ...row, tokens: null, start }], steps }).read();
    return { ...seen };
  };
  await runner.submit({ sequences: [{ ...row, tokens: [1, 2, 3], start: 0 }] }).read();
  assert.deepEqual(await step(1, 3), { passes: 1, writes: 1, submits: 1 });
  assert.deepEqual(await step(4, 4), { passes: 1, writes: 4, submits: 1 });
  runner.destroy();
});
