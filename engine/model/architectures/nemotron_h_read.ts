/** Reads Nemotron-H's hyperparameters from GGUF metadata and from config.json. */

import {
  MAX_EXPERTS,
  MAX_HEAD_DIM,
  MAX_HEADS,
  MAX_LAYERS,
  MAX_TAPS,
  MAX_WIDTH,
} from "../config_bounds.ts";
import type { Hyperparameters, LayerKind } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import type { OwnHyperparameters } from "./architecture.ts";

type Mamba = NonNullable<Hyperparameters["mamba"]>;
type Experts = NonNullable<Hyperparameters["experts"]>;

/**
 * The kinds of layers in config.json: a letter for each layer in hybrid_override_pattern, or a word
 * in layers_block_type.
 */
export const LETTERS = { mamba: "M", attention: "*", dense: "-", experts: "E" } as const;
const WORDS = { mamba: "mamba", attention: "attention", dense: "mlp", experts: "moe" } as const;
export const PATTERN = "hybrid_override_pattern";
const BLOCK_TYPES = "layers_block_type";

/** The value of llama.cpp's expert_gating_func for a sigmoid. */
const SIGMOID = 2;

/**
 * Reads the hyperparameters from GGUF metadata. The kind of a layer follows from its sizes: a
 * feed-forward layer has a width, attention has key-value heads, and Mamba has neither.
 */
export function nemotronFromGguf(metadata: MetadataReader): OwnHyperparameters {
  const layers = metadata.integer("block_count", [1, MAX_LAYERS]) -
    metadata.integer("nextn_predict_layers", [0, MAX_LAYERS], 0);
  const kvHeads = sizes(metadata, "attention.head_count_kv", layers);
  const widths = sizes(metadata, "feed_forward_length", layers);
  const routed = metadata.integer("expert_count", [0, MAX_EXPERTS], 0) > 0;
  const kinds = kvHeads.map((heads, i): LayerKind =>
    widths[i]! > 0 ? (routed ? "experts" : "dense") : heads > 0 ? "attention" : "mamba"
  );
  const heads = metadata.integer("ssm.time_step_rank", [1, MAX_HEADS]);
  const channels = "blk.{}.ssm_conv1d.bias".replace("{}", String(kinds.indexOf("mamba")));
  return {
    kinds: checkedKinds(metadata, kinds),
    // Files have one of these keys or both: llama.cpp at first read only the second.
    rmsEpsilon: metadata.positive(
      "attention.layer_norm_rms_epsilon",
      1,
      metadata.has("attention.layer_norm_epsilon")
        ? metadata.positive("attention.layer_norm_epsilon", 1)
        : undefined,
    ),
    kvHeads: theOne(metadata, "attention.head_count_kv", kvHeads),
    ffnDim: theOne(metadata, "feed_forward_length", widths),
    mamba: checkedMamba(metadata, {
      keyHeads: metadata.integer("ssm.group_count", [1, MAX_HEADS]),
      valueHeads: heads,
      keyDim: metadata.integer("ssm.state_size", [1, MAX_HEAD_DIM]),
      valueDim: metadata.integer("ssm.inner_size", [1, MAX_WIDTH]) / heads,
      taps: metadata.integer("ssm.conv_kernel", [2, MAX_TAPS]),
      convolutionBias: metadata.file.tensors.has(channels),
    }),
    ...(routed && { experts: expertsOfGguf(metadata) }),
  };
}

function expertsOfGguf(metadata: MetadataReader): Experts {
  refuse(metadata, [
    ["expert_gating_func", SIGMOID],
    ["expert_group_count", 1],
    ["expert_group_used_count", 1],
    ["moe_latent_size", 0],
  ]);
  metadata.integer("expert_shared_count", [1, 1], 1);
  const count = metadata.integer("expert_count", [1, MAX_EXPERTS]);
  const scale = metadata.between("expert_weights_scale", [0, 1e6], 1);
  return {
    count,
    used: metadata.integer("expert_used_count", [1, count]),
    width: metadata.integer("expert_feed_forward_length", [1, MAX_WIDTH]),
    normalized: metadata.flag("expert_weights_norm", false),
    // llama.cpp treats 0 as no scale.
    sigmoid: { scale: scale || 1 },
    shared: {
      width: metadata.integer("expert_shared_feed_forward_length", [1, MAX_WIDTH]),
      always: true,
    },
  };
}

/** Reads a size for each layer. Sizes of layers that draft tokens come last and are dropped. */
function sizes(metadata: MetadataReader, key: string, layers: number): number[] {
  const all = Array.isArray(metadata.value(key))
    ? metadata.numbers(key, [0, MAX_WIDTH])
    : Array.from({ length: layers }, () => metadata.integer(key, [0, MAX_WIDTH]));
  if (all.length >= layers) return all.slice(0, layers);
  throw metadata.fault(
    `key '${metadata.key(key)}' has ${all.length} values for ${layers} layers; ` +
      `the file is damaged or was converted incorrectly: download or convert it again`,
  );
}

/** Returns the one size above 0 that occurs among the layers. */
function theOne(metadata: MetadataReader, key: string, sizes: readonly number[]): number {
  const different = [...new Set(sizes.filter((size) => size > 0))];
  if (different.length === 1) return different[0]!;
  throw metadata.unsupported(
    `key '${metadata.key(key)}' differs between layers, which tvllm does not support for this ` +
      `architecture`,
  );
}

/**
 * Reads the hyperparameters from config.json. Source of the keys and defaults: ModelArgs of mlx-lm,
 * NemotronHConfig of transformers.
 */
export function nemotronFromJson(json: MetadataReader): OwnHyperparameters {
  refuse(json, [["use_bias", false], ["mamba_proj_bias", false], ["mamba_hidden_act", "silu"]]);
  const limits = json.has("time_step_limit") ? json.numbers("time_step_limit", [0, Infinity]) : [];
  if (limits.some((limit, i) => limit !== [0, Infinity][i])) {
    throw json.unsupported(`time_step_limit is ${limits.join(" to ")}; use a model without it`);
  }
  const kinds = kindsOfJson(json);
  const layers = json.integer("num_hidden_layers", [1, MAX_LAYERS], kinds.length);
  if (layers !== kinds.length) {
    throw json.fault(
      `the layer pattern has ${kinds.length} layers, but num_hidden_layers is ${layers}; ` +
        `download the model again`,
    );
  }
  return {
    kinds: checkedKinds(json, kinds),
    rmsEpsilon: json.positive("layer_norm_epsilon", 1, 1e-5),
    mamba: checkedMamba(json, {
      keyHeads: json.integer("n_groups", [1, MAX_HEADS], 8),
      valueHeads: json.integer("mamba_num_heads", [1, MAX_HEADS], 128),
      keyDim: json.integer("ssm_state_size", [1, MAX_HEAD_DIM], 128),
      valueDim: json.integer("mamba_head_dim", [1, MAX_HEAD_DIM], 64),
      taps: json.integer("conv_kernel", [2, MAX_TAPS], 4),
      convolutionBias: json.flag("use_conv_bias", true),
    }),
    ...(kinds.includes("experts") && { experts: expertsOfJson(json) }),
  };
}

function expertsOfJson(json: MetadataReader): Experts {
  refuse(json, [["n_group", 1], ["topk_group", 1], ["moe_latent_size", 0]]);
  const count = json.integer("n_routed_experts", [1, MAX_EXPERTS]);
  const shared = json.integer("n_shared_experts", [0, 1], 0);
  return {
    count,
    used: json.integer("num_experts_per_tok", [1, count]),
    width: json.integer("moe_intermediate_size", [1, MAX_WIDTH]),
    normalized: json.flag("norm_topk_prob", true),
    sigmoid: { scale: json.positive("routed_scaling_factor", 1e6, 1) },
    ...(shared > 0 && {
      shared: {
        width: json.integer("moe_shared_expert_intermediate_size", [1, MAX_WIDTH]),
        always: true,
      },
    }),
  };
}

/** Returns the kind of each layer, from config.json. */
export function kindsOfJson(json: MetadataReader): LayerKind[] {
  const [key, names, values] = json.has(PATTERN)
    ? [PATTERN, LETTERS, Array.from(json.text(PATTERN))] as const
    : [BLOCK_TYPES, WORDS, json.texts(BLOCK_TYPES)] as const;
  const byName = new Map(Object.entries(names).map(([kind, name]) => [name, kind as LayerKind]));
  return values.map((value) => {
    const kind = byName.get(value as never);
    if (kind !== undefined) return kind;
    throw json.unsupported(
      `${key} contains '${value}'; the supported ones are ${[...byName.keys()].join(", ")}`,
    );
  });
}

/**
 * Checks that attention, feed-forward and Mamba all occur. Without attention there would be no KV
 * cache, which tracks positions.
 */
function checkedKinds(metadata: MetadataReader, kinds: readonly LayerKind[]): readonly LayerKind[] {
  const has = (...some: readonly LayerKind[]) => kinds.some((kind) => some.includes(kind));
  if (has("attention") && has("dense", "experts") && has("mamba")) return kinds;
  throw metadata.unsupported(
    "its layers lack Mamba, attention or feed-forward; use a model with all three",
  );
}

function checkedMamba(metadata: MetadataReader, mamba: Mamba): Mamba {
  const { keyHeads, valueHeads, keyDim, valueDim } = mamba;
  if (valueHeads % keyHeads !== 0 || keyDim % 4 !== 0 || valueDim % 4 !== 0) {
    throw metadata.unsupported(
      `its Mamba layers have ${keyHeads} groups of ${keyDim} dimensions and ${valueHeads} heads ` +
        `of ${valueDim}; the groups must divide the heads, and the dimensions must be multiples ` +
        `of 4; use another model`,
    );
  }
  return mamba;
}

/** Throws if one of `keys`, which change the computation, has another value than the given one. */
function refuse(
  metadata: MetadataReader,
  keys: readonly (readonly [string, number | boolean | string])[],
): void {
  for (const [key, plain] of keys) {
    const value = metadata.value(key) ?? plain;
    if (value !== plain) {
      throw metadata.unsupported(
        `key '${metadata.key(key)}' is ${value}; use a model with ${plain}`,
      );
    }
  }
}
