/** Compares the reference runner with the goldens of the float32 reference in Python. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { ggufBytes, TINY_MODELS, tinyParts } from "../../fixtures/tiny_models.ts";
import { assertAllClose, compareWithGolden, type Golden, readGolden } from "../assert.ts";
import { withFile } from "../files/on_disk.ts";
import { referenceLogits } from "./reference_model.ts";
import { logitsOf, runnerOf, tinyRunner } from "./tiny_runner.ts";

/** The goldens have six decimals, and this rounding alone changes perplexity by about 1e-7. */
function assertLikeGolden(logits: readonly Float32Array[], golden: Golden): void {
  const { meanKl, perplexityError } = compareWithGolden(golden, logits);
  assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
  assert.ok(perplexityError <= 2e-4, `perplexity off by ${perplexityError}`);
}

for (const [architecture, format] of TINY_MODELS) {
  Deno.test(`Reference runner gives the golden's probabilities for ${architecture} in ${format}`, async () => {
    const golden = readGolden(`tiny-${architecture}-${format.toLowerCase()}`);
    const logits = await logitsOf(tinyRunner(architecture, format), golden.ids, { chunk: 128 });
    assertLikeGolden(logits, golden);
  });
}

Deno.test("Reference runner with an f16 KV cache stays within the GPU's bounds", async () => {
  const golden = readGolden("tiny-qwen3-f32");
  const exact = await logitsOf(tinyRunner("qwen3", "F32"), golden.ids);
  const rounded = await logitsOf(tinyRunner("qwen3", "F32", { kvType: "f16" }), golden.ids);
  const { meanKl, perplexityError } = compareWithGolden(golden, rounded);
  assert.ok(meanKl <= 1e-3 && perplexityError <= 5e-3, `${meanKl}, ${perplexityError}`);
  assert.notDeepEqual(rounded.at(-1), exact.at(-1));
});

/** Variants of llama without a golden: scaled RoPE, RoPE factors, and biases. */
const VARIANTS: Record<string, (parts: ReturnType<typeof tinyParts>) => void> = {
  "YaRN": ({ metadata }) => {
    metadata.set("llama.rope.scaling.type", { type: "string", value: "yarn" });
    metadata.set("llama.rope.scaling.factor", { type: "float32", value: 4 });
    metadata.set("llama.rope.scaling.original_context_length", { type: "uint32", value: 512 });
  },
  "RoPE factors": ({ tensors }) =>
    tensors.push(vector("rope_freqs.weight", [1, 1, 1, 1, 2, 4, 8, 8])),
  "biases": ({ tensors }) => {
    for (const layer of [0, 1]) {
      for (const [name, size] of [["q", 96], ["k", 32], ["v", 32]] as const) {
        const values = Array.from({ length: size }, (_, i) => Math.sin(i + layer));
        tensors.push(vector(`blk.${layer}.attn_${name}.bias`, values));
      }
    }
  },
};

function vector(name: string, values: readonly number[]) {
  const data = () => [new Uint8Array(Float32Array.from(values).buffer)];
  return { name, type: "F32", shape: [values.length], data } as const;
}

for (const [variant, change] of Object.entries(VARIANTS)) {
  Deno.test(`Reference runner agrees with the kernels' reference on ${variant}`, async () => {
    const parts = tinyParts("llama", "Q8_0");
    change(parts);
    const bytes = ggufBytes(parts);
    const ids = readGolden("tiny-llama-q8_0").ids.slice(0, 12);
    const expected = withFile("model.gguf", bytes, (path) => {
      const file = openGguf(path);
      try {
        return referenceLogits(file, configFromGguf(file), ids);
      } finally {
        file.close();
      }
    });
    const actual = await logitsOf(runnerOf(bytes), ids);
    const plain = await logitsOf(tinyRunner("llama", "Q8_0"), ids);
    assertAllClose(actual.at(-1)!, expected.at(-1)!, { absolute: 2e-5 });
    assertAllClose(actual[5]!, expected[5]!, { absolute: 2e-5 });
    assert.throws(() => assertAllClose(plain.at(-1)!, expected.at(-1)!, { absolute: 1e-3 }));
  });
}
