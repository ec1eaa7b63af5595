/** Gemma 3's own features are read from both kinds of file, and the goldens notice each of them. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import {
  assertNoticed,
  type Open,
  withDense,
  withLayers,
  withMixers,
  type Without,
} from "./features.ts";
import { configOf, float, text, uint } from "./tiny_config.ts";

const WITHOUT: Without = {
  "norms after the branches": (c) => withLayers(c, (layer) => ({ ...layer, postNorms: false })),
  "GELU": (c) => withDense(c, { activation: "silu" }),
  "windows": (c) => withMixers(c, ({ window: _, ...mixer }) => mixer),
  "a RoPE base of the window's layers": (c) => {
    const { rope } = attentionsOf(c.layers).at(-1)!;
    return withMixers(c, (mixer) => ({ ...mixer, rope }));
  },
  "the scale of embeddings": (c) => ({ ...c, embeddingScale: 1 }),
  "norms of heads": (c) => withMixers(c, (mixer) => ({ ...mixer, headNorm: false })),
};

const MODELS: Readonly<Record<string, Open>> = {
  "tiny-gemma3-f16": (read) => withFile("m.gguf", tinyModel("gemma3", "F16"), read),
  "safetensors-gemma3-f32": (read) => withFiles(tinySafetensors("gemma3", "F32"), read),
};

for (const [name, open] of Object.entries(MODELS)) {
  Deno.test(`${name} has a golden that notices each feature of Gemma 3`, () =>
    assertNoticed(name, WITHOUT, open));
}

Deno.test("configFromGguf() has defaults for what Gemma 3's files omit, and knows 27B by its layers", () => {
  const bare = configOf("gemma3", ({ metadata }) => {
    for (const key of ["attention.sliding_window_pattern", "rope.freq_base_swa"]) {
      metadata.delete(`gemma3.${key}`);
    }
  });
  const mixers = attentionsOf(bare.layers);
  assert.deepEqual(mixers.map(({ window }) => window), [13, 13, 13, 13, 13, undefined]);
  assert.deepEqual(mixers.map(({ rope }) => rope.base), [1e4, 1e4, 1e4, 1e4, 1e4, 1e6]);
  assert.equal(mixers[0]!.scale, 1 / Math.sqrt(16));
  assert.equal(bare.embeddingScale, 8);
  const capped = () =>
    configOf("gemma3", ({ metadata }) => {
      metadata.set("gemma3.final_logit_softcapping", float(30));
    });
  assert.throws(capped, /key 'gemma3\.final_logit_softcapping' is '30'/);
  const everywhere = () =>
    configOf("gemma3", ({ metadata }) => {
      metadata.set("gemma3.attention.sliding_window_pattern", uint(1));
    });
  assert.throws(everywhere, /sliding_window_pattern' is 1, not/);
  // 62 layers mean the 27B model, whose queries are scaled by dim / heads. This file lacks them.
  const large = () =>
    configOf("gemma3", ({ metadata }) => metadata.set("gemma3.block_count", uint(62)));
  assert.throws(large, /'blk\.6\.attn_norm\.weight' is missing/);
  const scaled = configOf("gemma3", ({ metadata }) => {
    metadata.set("gemma3.rope.scaling.type", text("linear"));
    metadata.set("gemma3.rope.scaling.factor", float(8));
  });
  assert.deepEqual(
    attentionsOf(scaled.layers).map(({ rope }) => rope.scaling.kind),
    ["none", "none", "linear", "none", "none", "linear"],
  );
});

Deno.test("readModel() reads Gemma 3's layer_types, and refuses layer types that do not repeat", () => {
  const windows = (change: Record<string, unknown>) => {
    const files = tinySafetensors("gemma3", "BF16");
    const config = JSON.parse(String(files["config.json"]));
    files["config.json"] = JSON.stringify({
      ...config,
      sliding_window_pattern: undefined,
      tie_word_embeddings: undefined,
      ...change,
    });
    return withFiles(files, (directory) => {
      const file = openModelFile(directory);
      try {
        return attentionsOf(readModel(file).config.layers).map(({ window = 0 }) => window);
      } finally {
        file.close();
      }
    });
  };
  const [sees, all] = ["sliding_attention", "full_attention"];
  assert.deepEqual(
    windows({ layer_types: [sees, all, sees, all, sees, all] }),
    [13, 0, 13, 0, 13, 0],
  );
  assert.deepEqual(windows({}), [13, 13, 13, 13, 13, 0]);
  assert.throws(
    () => windows({ layer_types: [sees, all, all, sees, sees, sees] }),
    /does not repeat/,
  );
  assert.throws(
    () => windows({ final_logit_softcapping: 30 }),
    /final_logit_softcapping' is set; use/,
  );
  assert.throws(() => windows({ hidden_activation: "gelu" }), /'gelu'; use a model with 'gelu_py/);
});
