/** Models of random weights: they load, run and have llama.cpp's sizes. */

import assert from "node:assert/strict";
import {
  type SyntheticFormat,
  syntheticModel,
  syntheticModelNames,
} from "../../engine/synthetic/models.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { bytesOf, checkDirectory, checkMlx, checkRuns } from "./synthetic_models.ts";

const TINY = syntheticModelNames().filter((name) => name.startsWith("tiny-"));

for (const name of TINY) {
  Deno.test(`synthetic ${name} runs, and knows some tokens from others`, async () => {
    for (const format of ["F16", "Q4_0", "Q4_K_M"] as const) await checkRuns(name, format);
  });

  Deno.test(`synthetic ${name} in safetensors has the logits that it has in GGUF`, async () => {
    await checkDirectory(name, "BF16");
  });
}

Deno.test("synthetic models in MLX's formats run, and know some tokens from others", async () => {
  for (const name of ["tiny-llama", "tiny-qwen3moe", "tiny-phi3"]) {
    for (const format of ["MLX4", "MLX8"] as const) await checkMlx(name, format);
  }
});

Deno.test("synthetic models of equal seeds are equal, of others not", () => {
  const one = bytesOf("tiny-llama", "Q4_0");
  assert.deepEqual(bytesOf("tiny-llama", "Q4_0"), one);
  assert.notDeepEqual(bytesOf("tiny-llama", "Q4_0", 2), one);
});

Deno.test("synthetic tinyllama-1.1b takes the bytes that llama.cpp's Q4_0 and Q4_K_M take", () => {
  const size = (format: SyntheticFormat) =>
    syntheticModel("tinyllama-1.1b", format, 1).tensors
      .reduce((sum, t) => sum + packedBytes(t.type, t.shape.reduce((a, b) => a * b, 1)), 0);
  // The published files are 637 and 668 MB, of which the vocabulary is below 2 MB.
  assert.ok(Math.abs(size("Q4_0") - 636e6) < 2e6, String(size("Q4_0")));
  assert.ok(Math.abs(size("Q4_K_M") - 667e6) < 2e6, String(size("Q4_K_M")));
});
