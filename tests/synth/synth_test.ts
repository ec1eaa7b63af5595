/** Models with random weights load, run and have the sizes of llama.cpp's files. */

import assert from "node:assert/strict";
import {
  type SyntheticFormat,
  syntheticModel,
  syntheticModelNames,
} from "../../engine/synthetic/models.ts";
import type { MetadataValue, ModelFile } from "../../engine/files/model_file.ts";
import { kvBudget } from "../../engine/kv_budget.ts";
import { kvBytesPerToken, layerKinds, stateCost, weightReads } from "../../engine/model/costs.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { bytesOf, checkDirectory, checkMlx, checkRuns } from "./synthetic_models.ts";

const TINY = syntheticModelNames().filter((name) => name.startsWith("tiny-"));

for (const name of TINY) {
  Deno.test(`synthetic ${name} runs, and its probabilities are neither flat nor constant`, async () => {
    for (const format of ["F16", "Q4_0", "Q4_K_M"] as const) await checkRuns(name, format);
  });

  Deno.test(`synthetic ${name} has the same logits in safetensors and in GGUF`, async () => {
    await checkDirectory(name, "BF16");
  });
}

Deno.test("synthetic models in MLX's formats run, and their probabilities are neither flat nor constant", async () => {
  for (const name of ["tiny-llama", "tiny-qwen3moe", "tiny-phi3"]) {
    for (const format of ["MLX4", "MLX8"] as const) await checkMlx(name, format);
  }
});

Deno.test("synthetic models are equal for equal seeds, and differ for others", () => {
  const one = bytesOf("tiny-llama", "Q4_0");
  assert.deepEqual(bytesOf("tiny-llama", "Q4_0"), one);
  assert.notDeepEqual(bytesOf("tiny-llama", "Q4_0", 2), one);
});

Deno.test("synthetic tinyllama-1.1b is as large as llama.cpp's Q4_0 and Q4_K_M files", () => {
  const size = (format: SyntheticFormat) =>
    syntheticModel("tinyllama-1.1b", format, 1).tensors
      .reduce((sum, t) => sum + packedBytes(t.type, t.shape.reduce((a, b) => a * b, 1)), 0);
  // The published files have 637 and 668 MB, including less than 2 MB for the vocabulary.
  assert.ok(Math.abs(size("Q4_0") - 636e6) < 2e6, String(size("Q4_0")));
  assert.ok(Math.abs(size("Q4_K_M") - 667e6) < 2e6, String(size("Q4_K_M")));
});

/** Returns a model file with a header but without weights. */
function headerOf(name: string, format: SyntheticFormat): ModelFile {
  const { metadata, tensors } = syntheticModel(name, format, 1);
  const infos = tensors.map(({ name, type, shape }) => {
    const byteLength = packedBytes(type, shape.reduce((a, b) => a * b, 1));
    return [name, { name, type, shape, file: 0, byteOffset: 0, byteLength }] as const;
  });
  return {
    format: "gguf",
    paths: ["header.gguf"],
    byteLength: infos.reduce((sum, [, { byteLength }]) => sum + byteLength, 0),
    metadata: new Map(Array.from(metadata, ([key, { value }]) => [key, value as MetadataValue])),
    tensors: new Map(infos),
    read: () => {
      throw new Error("its weights are read");
    },
    close: () => {},
  };
}

Deno.test("synthetic nemotron-3-nano-30b-a3b is readable from its header, and has the published sizes", () => {
  const file = headerOf("nemotron-3-nano-30b-a3b", "Q8_0");
  const { config, weights } = readModel(file);
  const kinds = config.layers.map(({ mixer, feedForward }) => mixer?.kind ?? feedForward!.kind);
  const count = (kind: string) => kinds.filter((own) => own === kind).length;
  assert.deepEqual([count("mamba"), count("experts"), count("attention")], [23, 23, 6]);
  assert.equal(config.unknownKeys, undefined);
  const sum = (of: (read: ReturnType<typeof weightReads>[number]) => number) =>
    Math.round(weightReads(config, weights.tensors).reduce((all, read) => all + of(read), 0) / 1e8);
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  // A token reads 3.2 of 31.6 billion weights. The name also counts the token's embedding.
  assert.equal(sum(({ tensor }) => size(tensor.shape)), 316);
  assert.equal(sum(({ tensor, share }) => size(tensor.shape) * share), 32);
  // 23 states, each with 64 matrices of 64 × 128 and three tokens of 6,144 channels. 6 attention
  // layers with two key-value heads.
  assert.equal(stateCost(config)!.bytes, 23 * 4 * (64 * 64 * 128 + 3 * 6144));
  assert.equal(kvBytesPerToken(layerKinds(config), 2), 6 * 2 * 2 * 128 * 2);
  const blocks = kvBudget(config, { kv: "f16", maxSequences: 1, kvMemory: 6144 * 16 * 100 });
  assert.deepEqual(blocks, [100]);
});
