/** Keys, names and layers that the architectures with gated delta nets share. */

import { MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_TAPS, MAX_WIDTH } from "../config_bounds.ts";
import type { FeedForwardSpec, LayerSpec } from "../config.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, attention, LESS_ONE, LOG_OF_OPPOSITE, uint } from "./architecture.ts";
import { periodOf } from "./layer_types.ts";

type DeltaNet = NonNullable<Hyperparameters["deltaNet"]>;

/** The period if a file has no key for it: every fourth layer has attention. */
const PERIOD = 4;

/** Properties that Qwen3.5's dense models and its mixtures of experts share. */
export const DELTA_NETS: Pick<
  Architecture,
  | "ggufRopeLayout"
  | "partialRope"
  | "attentionBias"
  | "obeys"
  | "hfPartialRotary"
  | "ggufNames"
  | "hfVector"
> = {
  ggufRopeLayout: "half",
  partialRope: true,
  attentionBias: false,
  obeys: { gguf: [], hf: ["partial_rotary_factor"] },
  hfPartialRotary: 0.25,
  ggufNames: { ffnNorm: "blk.{}.post_attention_norm.weight" },
  // mlx-lm adds the 1 when it converts a model.
  hfVector: (weight, mlx) =>
    weight === "recurrentDecay"
      ? LOG_OF_OPPOSITE
      : weight.endsWith("Norm") && weight !== "recurrentNorm" && !mlx
      ? LESS_ONE
      : undefined,
};

/** Returns all layers. The last layer of every period has attention, the others a delta net. */
export function deltaNetLayers(h: Hyperparameters, feedForward: FeedForwardSpec): LayerSpec[] {
  const { period, ...sizes } = h.deltaNet!;
  const attending = attention(h, { headNorm: true, gated: true });
  const recurrent = { kind: "delta-net", ...sizes } as const;
  return Array.from({ length: h.layers }, (_, i) => {
    const mixer = (i + 1) % period === 0 ? attending : recurrent;
    return { mixer, feedForward, postNorms: false };
  });
}

/**
 * Reads the delta net from GGUF metadata. Source of the keys: llama.cpp's qwen35.cpp, and
 * set_gguf_parameters() in its conversion/qwen.py.
 */
export function deltaNetFromGguf(metadata: MetadataReader): DeltaNet {
  const keyHeads = metadata.integer("ssm.group_count", [1, MAX_HEADS]);
  const valueHeads = metadata.integer("ssm.time_step_rank", [1, MAX_HEADS]);
  const values = metadata.integer("ssm.inner_size", [1, MAX_WIDTH]);
  return checked(metadata, {
    keyHeads,
    valueHeads,
    keyDim: metadata.integer("ssm.state_size", [1, MAX_HEAD_DIM]),
    valueDim: values / valueHeads,
    taps: metadata.integer("ssm.conv_kernel", [2, MAX_TAPS]),
    // The conversion reorders the value heads, so that value head h uses key head h mod keyHeads.
    tiled: true,
    period: periodOfGguf(metadata),
  });
}

/**
 * Reads the delta net from config.json. Source of keys and defaults: Qwen3_5TextConfig of
 * transformers.
 */
export function deltaNetFromJson(json: MetadataReader): DeltaNet {
  if (!json.flag("attn_output_gate", true)) {
    throw json.unsupported("attn_output_gate is false; use a model with gated attention");
  }
  const heads = (name: string, fallback: number) => json.integer(name, [1, MAX_HEADS], fallback);
  const dim = (name: string) => json.integer(name, [1, MAX_HEAD_DIM], 128);
  return checked(json, {
    keyHeads: heads("linear_num_key_heads", 16),
    valueHeads: heads("linear_num_value_heads", 32),
    keyDim: dim("linear_key_head_dim"),
    valueDim: dim("linear_value_head_dim"),
    taps: json.integer("linear_conv_kernel_dim", [2, MAX_TAPS], 4),
    tiled: false,
    period: periodOfJson(json),
  });
}

function periodOfJson(json: MetadataReader): number {
  const layers = json.integer("num_hidden_layers", [1, MAX_LAYERS]);
  if (!json.has("layer_types")) return statedPeriod(json, layers);
  const period = periodOf(json, "linear_attention");
  if (period <= layers) return period;
  throw json.unsupported("layer_types lists no attention layer; use a model that has some");
}

/** Newer files state the kind of each layer; the layers that draft tokens come last. */
function periodOfGguf(metadata: MetadataReader): number {
  const layers = metadata.integer("block_count", [1, MAX_LAYERS]) -
    metadata.integer("nextn_predict_layers", [0, MAX_LAYERS], 0);
  const key = metadata.key("attention.recurrent_layers");
  const stated = metadata.value("attention.recurrent_layers");
  if (stated === undefined) return statedPeriod(metadata, layers);
  const recurrent = Array.isArray(stated) ? stated.slice(0, layers).map(Boolean) : [];
  const period = recurrent.indexOf(false) + 1;
  const regular = recurrent.every((own, i) => own === ((i + 1) % period !== 0));
  if (recurrent.length === layers && period > 0 && regular) return period;
  throw metadata.unsupported(
    `the pattern of key '${key}' does not repeat; use a model whose layers alternate regularly`,
  );
}

/** At most `layers`: one layer or more must have attention, as its KV cache tracks positions. */
function statedPeriod(metadata: MetadataReader, layers: number): number {
  return metadata.integer("full_attention_interval", [1, layers], Math.min(layers, PERIOD));
}

function checked(metadata: MetadataReader, net: DeltaNet): DeltaNet {
  const { keyHeads, valueHeads, keyDim, valueDim } = net;
  if (valueHeads % keyHeads !== 0 || keyDim % 4 !== 0 || valueDim % 4 !== 0) {
    throw metadata.unsupported(
      `its gated delta nets have ${keyHeads} key heads of ${keyDim} dimensions and ${valueHeads} ` +
        `value heads of ${valueDim}; the key heads must divide the value heads, and the dimensions ` +
        `must be multiples of 4; use another model`,
    );
  }
  return net;
}

/** Returns the keys that describe the delta nets, for the files of synthetic models. */
export function writeDeltaNet({ deltaNet, headDim, rope }: Hyperparameters) {
  const { keyHeads, valueHeads, keyDim, valueDim, taps, period } = deltaNet!;
  // RoPE's pairs rotate by time, height and width in turn. For text all three are the position.
  const sections = [0, 1, 2].map((first) => Math.ceil((rope.dims / 2 - first) / 3));
  return {
    gguf: {
      "ssm.conv_kernel": uint(taps),
      "ssm.state_size": uint(keyDim),
      "ssm.group_count": uint(keyHeads),
      "ssm.time_step_rank": uint(valueHeads),
      "ssm.inner_size": uint(valueHeads * valueDim),
      full_attention_interval: uint(period),
      "rope.dimension_sections": { type: "array", of: "int32", value: [...sections, 0] },
    },
    hf: {
      linear_conv_kernel_dim: taps,
      linear_key_head_dim: keyDim,
      linear_value_head_dim: valueDim,
      linear_num_key_heads: keyHeads,
      linear_num_value_heads: valueHeads,
      full_attention_interval: period,
      head_dim: headDim,
      rope_theta: undefined,
      rope_scaling: undefined,
      rope_parameters: {
        rope_type: "default",
        rope_theta: rope.base,
        partial_rotary_factor: rope.dims / headDim,
        mrope_interleaved: true,
        mrope_section: sections,
      },
    },
  } as const;
}
