/** The interface that describes an architecture, and parts that most architectures share. */

import type { GgufValue } from "../../files/gguf_writer.ts";
import type { AttentionSpec, DenseSpec, LayerSpec, ModelConfig } from "../config.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import type { RopeSpec } from "../rope.ts";
import type { LayerWeight, ModelWeight } from "../weight_names.ts";

/** Hyperparameters that only one architecture has, or that it reads in its own way. */
export type OwnHyperparameters = Partial<Hyperparameters>;

/**
 * `uint` and `float` return numbers for GGUF metadata. The type matters: llama.cpp rejects a number
 * whose type is not the one that it expects.
 */
export function uint(value: number): GgufValue {
  return { type: "uint32", value };
}

export function float(value: number): GgufValue {
  return { type: "float32", value };
}

/** Converts the elements of a vector that a checkpoint and GGUF store differently. */
export interface StoredVector {
  /** From the checkpoint's value to GGUF's. */
  readonly read: (stored: number) => number;
  /** From GGUF's value to the checkpoint's. */
  readonly write: (value: number) => number;
}

/** Weights of norms: some checkpoints store them minus 1. */
export const LESS_ONE: StoredVector = {
  read: (stored) => stored + 1,
  write: (value) => value - 1,
};

/** The decay, which is negative: GGUF stores d itself, checkpoints store ln(−d). */
export const LOG_OF_OPPOSITE: StoredVector = {
  read: (stored) => -Math.exp(stored),
  write: (value) => Math.log(-value),
};

/** One architecture: how its files differ from those of others, and which layers they describe. */
export interface Architecture {
  /** `general.architecture` of GGUF. */
  readonly gguf: string;
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Other values of `model_type` for the same layers. */
  readonly otherModelTypes?: readonly string[];
  /** Whether a config.json describes this architecture, if several share its `model_type`. */
  isOf?(json: MetadataReader): boolean;
  /**
   * How RoPE pairs the elements of a head in GGUF files. Hugging Face's checkpoints pair halves.
   */
  readonly ggufRopeLayout: RopeSpec["layout"];
  /**
   * Whether queries, keys and values have a bias. "optional" means that the file decides, for them
   * as well as for the attention output and the feed-forward network.
   */
  readonly attentionBias: boolean | "optional";
  /**
   * Keys that change the computation and are refused in files of other architectures: keys of GGUF
   * without the architecture's prefix, and keys of config.json. `read` reads the ones that the
   * general readers skip.
   */
  readonly obeys?: { readonly gguf: readonly string[]; readonly hf: readonly string[] };
  /** Its files store queries, keys and values as one matrix, and gate and up as another. */
  readonly fused?: boolean;
  /** RoPE may rotate only some dimensions of a head, as llama.cpp allows for this architecture. */
  readonly partialRope?: boolean;
  /** The RoPE base if config.json has none; default 10,000. */
  readonly hfRopeBase?: number;
  /** The head size if config.json has none; default hidden_size / num_attention_heads. */
  readonly headDim?: number;
  /** `read` itself handles the arrays that contain a size for each layer. */
  readonly ownLayerSizes?: boolean;
  /** Names in its checkpoints that differ from weight_names.ts; `{}` stands for the layer. */
  readonly hfNames?: Partial<Readonly<Record<ModelWeight | LayerWeight, string>>>;
  /** Names of layers' weights in its GGUF files that differ from weight_names.ts. */
  readonly ggufNames?: Partial<Readonly<Record<LayerWeight, string>>>;
  /** The fraction of a head's elements that RoPE rotates if config.json has none; default 1. */
  readonly hfPartialRotary?: number;
  /** The default of tie_word_embeddings in config.json; false if absent. */
  readonly hfTied?: boolean;
  /** Its checkpoints stack the experts of a layer, with the gate of each above its up. */
  readonly hfFusedExperts?: boolean;
  /**
   * Returns the conversion of a vector that its checkpoints and GGUF files store differently.
   *
   * @param mlx whether mlx-lm converted the checkpoint
   */
  hfVector?(weight: ModelWeight | LayerWeight, mlx: boolean): StoredVector | undefined;
  /** Reads the hyperparameters that only this architecture has. */
  read?(metadata: MetadataReader): OwnHyperparameters;
  /**
   * The inverse of `read`, for the files of synthetic models. Returns keys of GGUF without the
   * architecture's prefix, and keys of config.json.
   */
  write?(h: Hyperparameters): {
    readonly gguf: Readonly<Record<string, GgufValue>>;
    readonly hf: Readonly<Record<string, unknown>>;
  };
  /** Returns all layers, in order. */
  layers(h: Hyperparameters): LayerSpec[];
  /** Returns the values of the config that differ from the usual ones. */
  config?(
    h: Hyperparameters,
  ): Partial<Pick<ModelConfig, "embeddingScale" | "logitScale" | "rmsEpsilon">>;
}

/** Returns the attention that most architectures have, with `more` overriding its fields. */
export function attention(
  { heads, kvHeads, headDim, rope, attentionBias: bias, outputBias = false }: Hyperparameters,
  more: Partial<AttentionSpec> = {},
): AttentionSpec {
  const scale = 1 / Math.sqrt(headDim);
  return {
    kind: "attention",
    heads,
    kvHeads,
    headDim,
    scale,
    rope,
    headNorm: false,
    bias,
    ...(outputBias && { outputBias }),
    ...more,
  };
}

/** Returns a dense feed-forward network gated by silu. */
export function dense({ ffnDim: width, ffnBias = false }: Hyperparameters): DenseSpec {
  return { kind: "dense", width, activation: "silu", ...(ffnBias && { bias: true }) };
}

/**
 * Returns Llama's layers, each with its own window, and with or without RoPE. `more` overrides
 * fields of their attention.
 */
export function llamaLayers(h: Hyperparameters, more: Partial<AttentionSpec> = {}): LayerSpec[] {
  const feedForward = dense(h);
  const still = unrotated(h.rope);
  return Array.from({ length: h.layers }, (_, i) => {
    const window = h.windows?.[i];
    const rope = h.rotates?.[i] === false ? still : h.rope;
    const mixer = attention(h, { rope, ...(window !== undefined && { window }), ...more });
    return { mixer, feedForward, postNorms: false };
  });
}

/** Returns a RoPE that leaves queries and keys unchanged. */
export function unrotated(rope: RopeSpec): RopeSpec {
  return { ...rope, dims: 0, scaling: { kind: "none" }, factors: false };
}

/** Returns `count` identical layers. */
export function repeated(count: number, layer: LayerSpec): LayerSpec[] {
  return Array.from({ length: count }, () => layer);
}
