import assert from "node:assert/strict";
import { DIRECTORY_FORMATS } from "../../engine/synthetic/directory.ts";
import {
  SYNTHETIC_FORMATS,
  syntheticModel,
  syntheticModelNames,
} from "../../engine/synthetic/models.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { checkDirectory, checkRuns } from "../synth/synthetic_models.ts";

for (const name of syntheticModelNames().filter((name) => name.startsWith("tiny-"))) {
  Deno.test(`synthetic ${name} runs in every format, and its probabilities are neither flat nor constant`, async () => {
    for (const format of SYNTHETIC_FORMATS) await checkRuns(name, format);
  });

  Deno.test(`synthetic ${name} has the same logits in every format of safetensors and in GGUF`, async () => {
    for (const format of DIRECTORY_FORMATS) await checkDirectory(name, format);
  });
}

/** Published sizes of each model: weights in millions, and tokens of the vocabulary. */
const PUBLISHED = [
  ["tinyllama-1.1b", 1100, 32_000],
  ["llama-3.2-1b", 1236, 128_256],
  ["qwen2.5-0.5b", 494, 151_936],
  ["qwen2.5-1.5b", 1544, 151_936],
  ["qwen3-0.6b", 596, 151_936],
  ["qwen3-30b-a3b", 30_532, 151_936],
  ["nemotron-3-nano-30b-a3b", 31_578, 131_072],
] as const;

for (const [name, millions, vocabulary] of PUBLISHED) {
  Deno.test(`synthetic ${name} has the published number of weights and tokens`, () => {
    // Formats with groups of 1, 32 and 256 weights.
    for (const format of ["F16", "Q8_0", "Q4_K_M"] as const) {
      const { metadata, tensors } = syntheticModel(name, format, 1);
      const weights = tensors.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0);
      assert.equal(Math.round(weights / 1e6), millions);
      // This throws if a row is not a whole number of groups.
      for (const { type, shape } of tensors) packedBytes(type, shape.at(-1)!);
      assert.equal((metadata.get("tokenizer.ggml.tokens")!.value as string[]).length, vocabulary);
    }
  });
}
