/** Qwen3.5's own features are read from all kinds of file, and the goldens notice each of them. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import type {
  AttentionSpec,
  DeltaNetSpec,
  ExpertsSpec,
  LayerSpec,
  ModelConfig,
} from "../../engine/model/config.ts";
import { attentionsOf, recurrentOf } from "../../engine/model/mixers.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import type { ModelFile } from "../../engine/files/model_file.ts";
import { ggufBytes, tinyModel, tinyParts } from "../../fixtures/tiny_models.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { readTensors, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import {
  type ModelDirectory,
  safetensorsBytes,
  tinySafetensors,
} from "../../fixtures/tiny_safetensors.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { withValues } from "./features.ts";
import { configOf, uint } from "./tiny_config.ts";

type Change = (config: ModelConfig) => ModelConfig;

const layers = (change: (layer: LayerSpec) => LayerSpec): Change => (config) => ({
  ...config,
  layers: config.layers.map(change),
});
const attention = (change: (mixer: AttentionSpec) => AttentionSpec) =>
  layers((layer) =>
    layer.mixer?.kind === "attention" ? { ...layer, mixer: change(layer.mixer) } : layer
  );
const deltaNet = (change: (mixer: DeltaNetSpec) => DeltaNetSpec) =>
  layers((layer) =>
    layer.mixer?.kind === "delta-net" ? { ...layer, mixer: change(layer.mixer) } : layer
  );

/** Functions that switch off a feature in the config. */
const WITHOUT: Record<string, Change> = {
  "gates of heads": attention(({ gated: _, ...mixer }) => mixer),
  "partial RoPE": attention((mixer) => ({
    ...mixer,
    rope: { ...mixer.rope, dims: mixer.headDim },
  })),
  "norms of heads": attention((mixer) => ({ ...mixer, headNorm: false })),
  "the order of the heads of values": deltaNet((mixer) => ({ ...mixer, tiled: !mixer.tiled })),
};
const WITHOUT_SHARED: Change = layers((layer) => {
  const { shared: _, ...feedForward } = layer.feedForward as ExpertsSpec;
  return { ...layer, feedForward };
});

/** Functions that switch off a feature by neutral values in its tensors. */
const NEUTRAL: Record<string, (file: ModelFile) => ModelFile> = {
  "the convolution": (file) => withValues(file, ".ssm_conv1d.", (i) => i % 4 === 3 ? 1 : 0),
  "decay": (file) => withValues(file, ".ssm_a", () => -1e-6),
  "strength": (file) => withValues(file, ".ssm_beta.", () => 0),
  "the norm of what heads give": (file) => withValues(file, ".ssm_norm.", () => 1),
};

const MODELS = {
  "tiny-qwen35-f16": () => withFile("m.gguf", tinyModel("qwen35", "F16"), variants),
  "tiny-qwen35moe-f16": () => withFile("m.gguf", tinyModel("qwen35moe", "F16"), variants),
  "safetensors-qwen35-f32": () => withFiles(tinySafetensors("qwen35", "F32"), variants),
};

/** Returns a runner of the model without each of the features. */
function variants(path: string) {
  const file = openModelFile(path);
  try {
    const { config, weights } = readModel(file);
    const isGguf = file.format === "gguf";
    const experts = config.layers[0]!.feedForward?.kind === "experts";
    return [
      ...Object.entries({ ...WITHOUT, ...(experts && { "the shared expert": WITHOUT_SHARED }) })
        .map(([feature, change]) => ({
          feature,
          runner: loadReferenceRunner(weights, change(config)),
        })),
      ...Object.entries(isGguf ? NEUTRAL : {}).map(([feature, change]) => ({
        feature,
        runner: loadReferenceRunner(change(weights), config),
      })),
    ];
  } finally {
    file.close();
  }
}

for (const [name, open] of Object.entries(MODELS)) {
  Deno.test(`${name} has a golden that notices each feature of Qwen3.5`, async () => {
    const golden = readGolden(name);
    for (const { feature, runner } of open()) {
      const { meanKl } = compareWithGolden(golden, await logitsOf(runner, golden.ids));
      // A hundred times the error that runners may have.
      assert.ok(meanKl > 1e-3, `without ${feature}: mean KL ${meanKl}`);
    }
  });
}

/** Returns the model as the text part of a model with a vision tower and with layers for drafts. */
function asPart(files: ModelDirectory, prefix: string): ModelDirectory {
  const { quantization_config: _, quantization, ...config } = JSON.parse(
    String(files["config.json"]),
  );
  const own = (name: string) => name.startsWith("model.") ? prefix + name.slice(6) : name;
  const extra = ["model.visual.patch_embed.proj.weight", "mtp.fc.weight", "mtp.norm.weight"];
  const zeros = extra.map((name) => ({
    ...{ name, type: "F32" as const, shape: [4], data: () => [new Uint8Array(16)] },
  }));
  const tensors = readTensors(files["model.safetensors"] as Uint8Array);
  return {
    ...files,
    "model.safetensors": safetensorsBytes([
      ...tensors.map((tensor) => ({ ...tensor, name: own(tensor.name) })),
      ...zeros,
    ]),
    "config.json": JSON.stringify({
      model_type: config.model_type,
      tie_word_embeddings: config.tie_word_embeddings,
      text_config: {
        ...config,
        model_type: `${config.model_type}_text`,
        tie_word_embeddings: undefined,
        full_attention_interval: 2,
        mamba_ssm_dtype: "float32",
        mtp_num_hidden_layers: 1,
        mtp_use_dedicated_embeddings: false,
      },
      vision_config: { depth: 2, hidden_size: 8 },
      ...(quantization && {
        quantization: Object.fromEntries(
          Object.entries(quantization).map(([key, value]) => [own(key), value]),
        ),
      }),
    }),
  };
}

function contents(files: ModelDirectory) {
  return withFiles(files, (directory) => {
    const file = openModelFile(directory);
    try {
      const { config: { name: _, ...config }, weights, notes } = readModel(file);
      const bytes = Array.from(weights.tensors, ([name, tensor]) => {
        const into = new Uint8Array(tensor.byteLength);
        weights.read(tensor, 0, into);
        return [name, into.toHex()] as const;
      });
      return { config, notes, bytes };
    } finally {
      file.close();
    }
  });
}

const PARTS: Record<string, readonly [ModelDirectory, string]> = {
  "transformers writes it": [tinySafetensors("qwen35", "BF16"), "model.language_model."],
  "transformers writes it, with experts": [
    tinySafetensors("qwen35moe", "BF16"),
    "model.language_model.",
  ],
  "mlx-lm writes it, with experts": [
    tinyMlx(["qwen35moe", 4, 32, "BF16"]),
    "language_model.model.",
  ],
};
for (const [name, [files, prefix]] of Object.entries(PARTS)) {
  Deno.test(`readModel() reads the text part of a Qwen3.5 with vision, as ${name}`, () => {
    const alone = contents(files);
    const part = contents(asPart(files, prefix));
    assert.deepEqual(part.config, alone.config);
    for (const [i, [name, hex]] of alone.bytes.entries()) {
      assert.ok(part.bytes[i]![0] === name && part.bytes[i]![1] === hex, name);
    }
    assert.deepEqual(alone.notes, []);
    assert.deepEqual(part.notes, [
      "its vision tower is not used (1 tensor)",
      "its layers for multi-token prediction (MTP) are not used (2 tensors)",
    ]);
  });
}

Deno.test("modelTokenizer() finds the end tokens in the config of a model's text part", () => {
  const files = asPart(tinySafetensors("qwen35", "BF16"), "model.language_model.");
  const config = JSON.parse(String(files["config.json"]));
  config.text_config.eos_token_id = [7, 9];
  files["config.json"] = JSON.stringify(config);
  delete files["generation_config.json"];
  withFiles(files, (directory) => {
    const file = openModelFile(directory);
    const { eosIds } = modelTokenizer(file);
    file.close();
    assert.deepEqual([6, 7, 8, 9].filter((id) => eosIds.has(id)), [7, 9]);
  });
});

Deno.test("readModel() omits the layers of a GGUF file that draft tokens", () => {
  const parts = tinyParts("qwen35", "F16");
  parts.metadata.set("qwen35.block_count", uint(5));
  parts.metadata.set("qwen35.nextn_predict_layers", uint(1));
  const recurrent = [1, 0, 1, 0, 0];
  parts.metadata.set("qwen35.attention.recurrent_layers", {
    ...{ type: "array", of: "int32", value: recurrent },
  });
  const first = parts.tensors.find(({ name }) => name === "blk.3.attn_norm.weight")!;
  parts.tensors.push({ ...first, name: "blk.4.attn_norm.weight" });
  parts.tensors.push({ ...first, name: "blk.4.nextn.enorm.weight" });
  withFile("m.gguf", ggufBytes(parts), (path) => {
    const file = openModelFile(path);
    const { config, weights, notes } = readModel(file);
    file.close();
    assert.equal(config.layers.length, 4);
    assert.ok(!weights.tensors.has("blk.4.attn_norm.weight"));
    assert.deepEqual(notes, [
      "its layers for multi-token prediction (MTP) are not used (2 tensors)",
    ]);
  });
});

Deno.test("configFromGguf() reads Qwen3.5's layers, and refuses unsupported values", () => {
  const config = configOf("qwen35");
  assert.deepEqual(
    config.layers.map(({ mixer }) => mixer?.kind),
    ["delta-net", "attention", "delta-net", "attention"],
  );
  const [net] = recurrentOf(config.layers);
  assert.deepEqual(net, {
    ...{ kind: "delta-net", keyHeads: 2, valueHeads: 6, keyDim: 32, valueDim: 32 },
    ...{ taps: 4, tiled: true },
  });
  const [attending] = attentionsOf(config.layers);
  assert.deepEqual([attending!.gated, attending!.rope.dims, attending!.headDim], [true, 16, 32]);
  const changed = (key: string, value: number) => () =>
    configOf("qwen35", ({ metadata }) => metadata.set(`qwen35.${key}`, uint(value)));
  assert.throws(
    changed("ssm.time_step_rank", 3),
    /gated delta nets have 2 key heads of 32 dimensions and 3 value heads of 64/,
  );
  assert.throws(changed("full_attention_interval", 5), /'qwen35\.full_attention_interval' is 5/);
  const named = (value: number[]) =>
    configOf("qwen35", ({ metadata }) => {
      metadata.set("qwen35.attention.recurrent_layers", { type: "array", of: "int32", value });
      metadata.delete("qwen35.full_attention_interval");
    });
  assert.deepEqual(named([1, 0, 1, 0]), config);
  for (const other of [[1, 0, 0, 1], [1, 1, 1, 1], [1, 0]]) {
    assert.throws(
      () => named(other),
      /recurrent_layers' does not repeat; use a model whose layers alternate/,
    );
  }
});
