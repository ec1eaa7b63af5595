/** Models that are refused before they are downloaded. */

import assert from "node:assert/strict";
import { checkDownload } from "../../engine/check_download.ts";
import { UnsupportedError } from "../../engine/errors.ts";
import { ggufBytes, tinyParts } from "../../fixtures/tiny_models.ts";

/** Returns the beginning of a GGUF file: its header and half of its weights. */
function gguf(change: (metadata: ReturnType<typeof tinyParts>["metadata"]) => void) {
  const parts = tinyParts("llama", "F32");
  change(parts.metadata);
  const bytes = ggufBytes(parts);
  const weights = parts.tensors.reduce(
    (sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1),
    0,
  );
  return {
    name: "m.gguf",
    bytes: bytes.subarray(0, bytes.length - weights / 2),
    size: bytes.length,
  };
}

const config = (values: object) => {
  const bytes = new TextEncoder().encode(JSON.stringify(values));
  return { name: "config.json", bytes, size: bytes.length };
};

Deno.test("checkDownload() refuses unsupported models from the beginning of their file", () => {
  const mamba = { type: "string", value: "mamba" } as const;
  for (
    const [beginning, message] of [
      [gguf((m) => m.set("general.architecture", mamba)), /architecture 'mamba'/],
      [gguf((m) => m.set("general.type", { type: "string", value: "adapter" })), /LoRA adapter/],
      [gguf((m) => m.set("tokenizer.ggml.pre", mamba)), /its pre-tokenizer is 'mamba'/],
      [
        config({ model_type: "mamba" }),
        /model_type 'mamba' is not supported; the supported ones are llama/,
      ],
      // As when it is loaded, the type of the text model alone does not count.
      [
        config({ model_type: "llava", text_config: { model_type: "llama" } }),
        /model_type 'llava' is not supported; the supported ones are llama, mistral, /,
      ],
      [config({}), /it has no model_type/],
      [
        config({ model_type: "llama", quantization_config: { quant_method: "gptq" } }),
        /its weights are quantized with 'gptq'/,
      ],
    ] as const
  ) {
    assert.throws(() => checkDownload(beginning), (error) => {
      assert.ok(error instanceof UnsupportedError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("checkDownload() accepts supported models, and leaves undecided what it cannot tell", () => {
  assert.equal(checkDownload(gguf(() => {})), true);
  for (const model_type of ["llama", "mistral", "ministral", "mistral3", "qwen3_5_text"]) {
    assert.equal(checkDownload(config({ model_type })), true, model_type);
  }
  const withVision = { model_type: "qwen3_5", text_config: { model_type: "qwen3_5_text" } };
  assert.equal(checkDownload(config(withVision)), true);
  const { bytes, ...rest } = gguf(() => {});
  assert.equal(checkDownload({ ...rest, bytes: bytes.subarray(0, 2000) }), false);
  assert.equal(checkDownload({ name: "config.json", bytes: bytes.subarray(0, 9), size: 9 }), false);
});
