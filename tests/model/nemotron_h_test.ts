/** Nemotron-H's own features are read from all kinds of file, and the goldens notice each one. */

import assert from "node:assert/strict";
import type { ModelFile } from "../../engine/files/model_file.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import type { ExpertsSpec, ModelConfig } from "../../engine/model/config.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { withLayers, withRope, withValues } from "./features.ts";
import { type Change, configOf, float, uint } from "./tiny_config.ts";

const withExperts = (config: ModelConfig, change: (spec: ExpertsSpec) => ExpertsSpec) =>
  withLayers(
    config,
    (layer) =>
      layer.feedForward?.kind === "experts"
        ? { ...layer, feedForward: change(layer.feedForward) }
        : layer,
  );

/** Functions that switch off a feature in the config. */
const WITHOUT: Readonly<Record<string, (config: ModelConfig) => ModelConfig>> = {
  "attention without RoPE": (c) => withRope(c, { dims: 16 }),
  "the square of what is above 0": (c) =>
    withLayers(
      c,
      (layer) =>
        layer.feedForward
          ? { ...layer, feedForward: { ...layer.feedForward, activation: "silu" } }
          : layer,
    ),
  "the bias of the convolution": (c) =>
    withLayers(
      c,
      (layer) =>
        layer.mixer?.kind === "mamba"
          ? { ...layer, mixer: { ...layer.mixer, convolutionBias: false } }
          : layer,
    ),
};
const WITHOUT_EXPERTS: typeof WITHOUT = {
  "the scale of experts": (c) => withExperts(c, (spec) => ({ ...spec, sigmoid: { scale: 1 } })),
  "weights that sum to 1": (c) => withExperts(c, (spec) => ({ ...spec, normalized: false })),
  "the sigmoid": (c) => withExperts(c, ({ sigmoid: _, ...spec }) => spec),
  "the shared expert": (c) => withExperts(c, ({ shared: _, ...spec }) => spec),
};

/** Functions that switch off a feature by neutral values in its tensors. */
const NEUTRAL: Readonly<Record<string, (file: ModelFile) => ModelFile>> = {
  "the convolution": (file) => withValues(file, ".ssm_conv1d.weight", (i) => i % 4 === 3 ? 1 : 0),
  "decay": (file) => withValues(file, ".ssm_a", () => -1e-6),
  "steps of their own": (file) => withValues(file, ".ssm_dt.bias", () => 0),
  "the skip": (file) => withValues(file, ".ssm_d", () => 0),
  "the weights of the norm": (file) => withValues(file, ".ssm_norm.", () => 1),
};
const NEUTRAL_EXPERTS: typeof NEUTRAL = {
  "the bias of the router": (file) => withValues(file, ".exp_probs_b.", () => 0),
};

for (
  const [architecture, without, neutral] of [
    ["nemotron_h", WITHOUT, NEUTRAL],
    [
      "nemotron_h_moe",
      { ...WITHOUT, ...WITHOUT_EXPERTS },
      { ...NEUTRAL, ...NEUTRAL_EXPERTS },
    ],
  ] as const
) {
  Deno.test(`tiny-${architecture}-f16 has a golden that notices each feature of Nemotron-H`, async () => {
    const golden = readGolden(`tiny-${architecture}-f16`);
    const runners = withFile("m.gguf", tinyModel(architecture, "F16"), (path) => {
      const file = openModelFile(path);
      const { config, weights } = readModel(file);
      const all = [
        ...Object.entries(without).map(([feature, change]) => ({
          feature,
          runner: loadReferenceRunner(weights, change(config)),
        })),
        ...Object.entries(neutral).map(([feature, change]) => ({
          feature,
          runner: loadReferenceRunner(change(weights), config),
        })),
      ];
      file.close();
      return all;
    });
    for (const { feature, runner } of runners) {
      const { meanKl } = compareWithGolden(golden, await logitsOf(runner, golden.ids));
      // A hundred times the error that runners may have.
      assert.ok(meanKl > 1e-3, `without ${feature}: mean KL ${meanKl}`);
    }
  });
}

const KINDS = ["mamba", undefined, "mamba", "attention", undefined];

Deno.test("configFromGguf() reads the kind of each of Nemotron-H's layers", () => {
  const config = configOf("nemotron_h");
  assert.deepEqual(config.layers.map(({ mixer }) => mixer?.kind), KINDS);
  assert.deepEqual(config.layers.map(({ feedForward }) => feedForward?.width), [
    ...[undefined, 160, undefined, undefined, 160],
  ]);
  assert.deepEqual(config.layers[0]!.mixer, {
    ...{ kind: "mamba", keyHeads: 2, valueHeads: 6, keyDim: 24, valueDim: 32, taps: 4 },
    convolutionBias: true,
  });
  const { feedForward } = configOf("nemotron_h_moe").layers[1]!;
  assert.deepEqual(feedForward, {
    ...{ kind: "experts", count: 8, used: 2, width: 64, normalized: true },
    ...{ sigmoid: { scale: 2.5 }, activation: "relu2", gateless: true },
    shared: { width: 128, always: true },
  });
  assert.equal(config.unknownKeys, undefined);
});

Deno.test("configFromGguf() accepts either epsilon key of Nemotron-H, and refuses unsupported values", () => {
  const changed = (change: Change) => () => configOf("nemotron_h_moe", change);
  const set = (key: string, value: ReturnType<typeof uint>) =>
    changed(({ metadata }) => metadata.set(`nemotron_h_moe.${key}`, value));
  const epsilon = (key: string) =>
    changed(({ metadata }) => metadata.delete(`nemotron_h_moe.attention.${key}`))().rmsEpsilon;
  assert.equal(epsilon("layer_norm_epsilon"), Math.fround(1e-5));
  assert.equal(epsilon("layer_norm_rms_epsilon"), Math.fround(1e-5));
  assert.throws(set("moe_latent_size", uint(32)), /'nemotron_h_moe\.moe_latent_size' is 32; use a/);
  assert.throws(set("expert_group_count", uint(2)), /expert_group_count' is 2; use a model with 1/);
  assert.throws(
    set("ssm.group_count", uint(4)),
    /its Mamba layers have 4 groups of 24 dimensions and 6 heads of 32/,
  );
  assert.throws(set("attention.head_count_kv", uint(0)), /its layers lack Mamba, attention or f/);
  const array = (value: number[]) => ({ type: "array", of: "int32", value } as never);
  assert.throws(set("attention.head_count_kv", array([0, 0, 0])), /has 3 values for 5 layers/);
  assert.throws(set("feed_forward_length", array([0, 64, 0, 0, 96])), /differs between layers/);
  assert.equal(
    (set("expert_weights_scale", float(0))().layers[1]!.feedForward as ExpertsSpec).sigmoid!.scale,
    1,
  );
});

function jsonConfig(change: Readonly<Record<string, unknown>>, text?: (json: string) => string) {
  const files = tinySafetensors("nemotron_h_moe", "BF16");
  const json = JSON.stringify({ ...JSON.parse(String(files["config.json"])), ...change });
  files["config.json"] = text ? text(json) : json;
  return withFiles(files, (directory) => {
    const file = openModelFile(directory);
    try {
      const { name: _, ...config } = readModel(file).config;
      return config;
    } finally {
      file.close();
    }
  });
}

Deno.test("readModel() reads Nemotron-H's layers as letters or words, and limits as Python writes them", () => {
  const config = jsonConfig({});
  assert.equal(config.architecture, "nemotron_h_moe");
  assert.deepEqual(config.layers.map(({ mixer }) => mixer?.kind), KINDS);
  const words = ["mamba", "moe", "mamba", "attention", "moe"];
  assert.deepEqual(
    jsonConfig({ hybrid_override_pattern: undefined, layers_block_type: words }),
    config,
  );
  const endless = (json: string) => json.replace('"no limit"', "[0.0, Infinity]");
  assert.deepEqual(jsonConfig({ time_step_limit: "no limit" }, endless), config);
  assert.throws(
    () => jsonConfig({ time_step_limit: [0.01, 100] }),
    /time_step_limit is 0\.01 to 100/,
  );
  assert.throws(
    () => jsonConfig({ hybrid_override_pattern: "MEM*" }),
    /pattern has 4 layers, but num_hidden_layers is 5/,
  );
  assert.throws(
    () => jsonConfig({ hybrid_override_pattern: "MEMXE" }),
    /hybrid_override\w+ contains 'X'/,
  );
  assert.throws(
    () => jsonConfig({ hybrid_override_pattern: "MEMME" }),
    /its layers lack Mamba, att/,
  );
  assert.throws(() => jsonConfig({ mamba_hidden_act: "gelu" }), /'mamba_hidden_act' is gelu/);
  assert.throws(() => jsonConfig({ mlp_hidden_act: "silu" }), /mlp_hidden_act "silu"|'silu'/);
  assert.throws(() => jsonConfig({ n_group: 2 }), /'n_group' is 2; use a model with 1/);
});
