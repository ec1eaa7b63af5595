/** Unknown keys that could change the computation are reported. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openSafetensors } from "../../engine/files/safetensors.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { mlxName, TINY_MLX, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { TINY_MODELS, tinyModel } from "../../fixtures/tiny_models.ts";
import { TINY_SAFETENSORS, tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { REAL_MODEL, realModelMissing, withFile, withFiles } from "../files/on_disk.ts";
import { configOf, keys, text, uint } from "./tiny_config.ts";

function unknownIn(path: string): readonly string[] | undefined {
  const file = openModelFile(path);
  try {
    return readModel(file).config.unknownKeys;
  } finally {
    file.close();
  }
}

Deno.test("readModel() knows all keys of the tiny models", () => {
  for (const [architecture, format] of TINY_MODELS) {
    const bytes = tinyModel(architecture, format);
    assert.equal(withFile("m.gguf", bytes, unknownIn), undefined, architecture);
  }
  for (const [architecture, type] of TINY_SAFETENSORS) {
    assert.equal(
      withFiles(tinySafetensors(architecture, type), unknownIn),
      undefined,
      architecture,
    );
  }
});

for (const model of TINY_MLX) {
  Deno.test(`readModel() knows all keys of ${mlxName(model)}`, () => {
    assert.equal(withFiles(tinyMlx(model), unknownIn), undefined);
  });
}

Deno.test({
  name: "readModel() knows all keys of SmolLM2",
  ignore: realModelMissing(),
  fn: () => assert.equal(unknownIn(REAL_MODEL), undefined),
});

Deno.test("configFromGguf() reports unknown keys of the architecture, and no others", () => {
  const config = configOf(
    "llama",
    keys({
      "attention.sink_tokens": uint(4),
      "rope.scaling.finetuned": uint(1),
      "mystery": text("x"),
      "tokenizer:mystery": uint(1),
      "qwen2:mystery": uint(1),
    }),
  );
  assert.deepEqual(config.unknownKeys, ["llama.attention.sink_tokens", "llama.mystery"]);
});

Deno.test("configFromSafetensors() reports unknown keys of config.json", () => {
  const files = tinySafetensors("llama", "F16");
  const config = JSON.parse(files["config.json"] as string);
  const changed = {
    ...config,
    use_cache: true,
    layer_scale: 2,
    head_gates: { kind: "new" },
    transformers_version: "5",
  };
  const unknown = withFiles({ ...files, "config.json": JSON.stringify(changed) }, (directory) => {
    const file = openSafetensors(directory);
    try {
      return readModel(file).config.unknownKeys;
    } finally {
      file.close();
    }
  });
  assert.deepEqual(unknown, ["layer_scale", "head_gates"]);
});
