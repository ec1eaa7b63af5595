/** Models of random weights: they load, run and have llama.cpp's sizes. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { DIRECTORY_FORMATS, syntheticDirectory } from "../../engine/synthetic/directory.ts";
import {
  SYNTHETIC_FORMATS,
  syntheticModel,
  syntheticModelNames,
} from "../../engine/synthetic/models.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { assertAllClose, logSoftmax } from "../assert.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { ggufBytes } from "../../fixtures/tiny_models.ts";
import { safetensorsBytes } from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";

const TINY = syntheticModelNames().filter((name) => name.startsWith("tiny-"));

/** The whole file in memory; of tiny models alone. */
function bytesOf(name: string, format: typeof SYNTHETIC_FORMATS[number], seed = 1): Uint8Array {
  const { metadata, tensors } = syntheticModel(name, format, seed);
  return ggufBytes({ metadata: new Map(metadata), tensors: [...tensors] });
}

for (const name of TINY) {
  Deno.test(`synthetic ${name} runs in every format, and knows some tokens from others`, async () => {
    for (const format of SYNTHETIC_FORMATS) {
      const { runner, ids } = withFile("m.gguf", bytesOf(name, format), opened);
      const logits = await logitsOf(runner, ids);
      for (const row of logits) {
        const probabilities = logSoftmax(row).map(Math.exp);
        const best = Math.max(...probabilities);
        assert.ok(best > 3 / probabilities.length, `${format}: all alike, best ${best}`);
        assert.ok(best < 0.9, `${format}: one token always, ${best}`);
      }
    }
  });
}

for (const name of TINY) {
  Deno.test(`synthetic ${name} in safetensors has the logits that it has in GGUF`, async () => {
    for (const format of DIRECTORY_FORMATS) {
      const rule = (pre: string) => preTokenizer(pre)!.config;
      const { texts, tensors } = syntheticDirectory(name, { format, seed: 1, preTokenizer: rule });
      const files = { ...texts, "model.safetensors": safetensorsBytes(tensors) };
      const [gguf, safetensors] = [
        withFile("m.gguf", bytesOf(name, format), opened),
        withFiles(files, opened),
      ];
      assert.deepEqual(safetensors.ids, gguf.ids);
      assertAllClose(
        (await logitsOf(safetensors.runner, gguf.ids)).at(-1)!,
        (await logitsOf(gguf.runner, gguf.ids)).at(-1)!,
        { absolute: 1e-4 },
      );
    }
  });
}

/** A model at this path: how it answers, and its tokens of a text. */
function opened(path: string) {
  const file = openModelFile(path);
  try {
    const { config, weights } = readModel(file);
    const ids = modelTokenizer(file).encode("no one sees the sea again");
    return { runner: loadReferenceRunner(weights, config), ids };
  } finally {
    file.close();
  }
}

Deno.test("synthetic models of equal seeds are equal, of others not", () => {
  const one = bytesOf("tiny-llama", "Q4_0");
  assert.deepEqual(bytesOf("tiny-llama", "Q4_0"), one);
  assert.notDeepEqual(bytesOf("tiny-llama", "Q4_0", 2), one);
});

/** What is published of each: weights in millions, and tokens. */
const PUBLISHED = [
  ["tinyllama-1.1b", 1100, 32_000],
  ["llama-3.2-1b", 1236, 128_256],
  ["qwen2.5-0.5b", 494, 151_936],
  ["qwen2.5-1.5b", 1544, 151_936],
  ["qwen3-0.6b", 596, 151_936],
  ["qwen3-30b-a3b", 30_532, 151_936],
] as const;

for (const [name, millions, vocabulary] of PUBLISHED) {
  Deno.test(`synthetic ${name} has the published number of weights and tokens`, () => {
    // Of one, of 32 and of 256 weights a group.
    for (const format of ["F16", "Q8_0", "Q4_K_M"] as const) {
      const { metadata, tensors } = syntheticModel(name, format, 1);
      const weights = tensors.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0);
      assert.equal(Math.round(weights / 1e6), millions);
      // Every row is whole groups of its type, else this throws.
      for (const { type, shape } of tensors) packedBytes(type, shape.at(-1)!);
      assert.equal((metadata.get("tokenizer.ggml.tokens")!.value as string[]).length, vocabulary);
    }
  });
}

Deno.test("synthetic tinyllama-1.1b takes the bytes that llama.cpp's Q4_0 and Q4_K_M take", () => {
  const size = (format: typeof SYNTHETIC_FORMATS[number]) =>
    syntheticModel("tinyllama-1.1b", format, 1).tensors
      .reduce((sum, t) => sum + packedBytes(t.type, t.shape.reduce((a, b) => a * b, 1)), 0);
  // The published files are 637 and 668 MB, of which the vocabulary is below 2 MB.
  assert.ok(Math.abs(size("Q4_0") - 636e6) < 2e6, String(size("Q4_0")));
  assert.ok(Math.abs(size("Q4_K_M") - 667e6) < 2e6, String(size("Q4_K_M")));
});
