/** What a file of this folder says of one architecture, and what most of them have in common. */

import type { GgufValue } from "../../files/gguf_writer.ts";
import type { AttentionSpec, DenseSpec, LayerSpec, ModelConfig } from "../config.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import type { RopeSpec } from "../rope.ts";
import type { LayerWeight, ModelWeight } from "../weight_names.ts";

/** Hyperparameters that one architecture alone has. */
export type OwnHyperparameters = Partial<Hyperparameters>;

/** Numbers of GGUF metadata: llama.cpp refuses those of another type than it expects. */
export function uint(value: number): GgufValue {
  return { type: "uint32", value };
}

export function float(value: number): GgufValue {
  return { type: "float32", value };
}

/** How a checkpoint stores the elements of a vector that GGUF has otherwise, and the way there. */
export interface StoredVector {
  readonly read: (stored: number) => number;
  readonly write: (value: number) => number;
}

/** Weights of norms, which some checkpoints store less 1. */
export const LESS_ONE: StoredVector = {
  read: (stored) => stored + 1,
  write: (value) => value - 1,
};

/** GGUF has the decay itself, which is negative; checkpoints have the logarithm of its opposite. */
export const LOG_OF_OPPOSITE: StoredVector = {
  read: (stored) => -Math.exp(stored),
  write: (value) => Math.log(-value),
};

/** One architecture: where its files differ from others', and the layers that they describe. */
export interface Architecture {
  /** `general.architecture` of GGUF. */
  readonly gguf: string;
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Others that stand for the same layers. */
  readonly otherModelTypes?: readonly string[];
  /** Whether a config.json is of this one, where others have the same `model_type`. */
  isOf?(json: MetadataReader): boolean;
  /** How GGUF files pair the elements of a head; Hugging Face's checkpoints pair halves. */
  readonly ggufRopeLayout: RopeSpec["layout"];
  /**
   * Whether queries, keys and values have a bias; "optional": if the file says so, as it may of the
   * heads' output and of the feed-forward network.
   */
  readonly attentionBias: boolean | "optional";
  /**
   * Keys that change what is computed and that most files lack, which this one's may have: of
   * GGUF below its prefix, and of config.json. What of them is not read in general, `read` reads.
   */
  readonly obeys?: { readonly gguf: readonly string[]; readonly hf: readonly string[] };
  /** Its files keep queries, keys and values in one matrix, and gate and up in another. */
  readonly fused?: boolean;
  /** RoPE may turn fewer dimensions than a head has, as llama.cpp has it for this one. */
  readonly partialRope?: boolean;
  /** The RoPE base where config.json has none; default 10,000. */
  readonly hfRopeBase?: number;
  /** The head size where config.json has none; default the width by the heads. */
  readonly headDim?: number;
  /** `read` reads the arrays that have a size for each layer. */
  readonly ownLayerSizes?: boolean;
  /** Its checkpoints' names where they differ from weight_names.ts; `{}` stands for the layer. */
  readonly hfNames?: Partial<Readonly<Record<ModelWeight | LayerWeight, string>>>;
  /** Of GGUF files those of layers. */
  readonly ggufNames?: Partial<Readonly<Record<LayerWeight, string>>>;
  /** The share of a head's elements that rotate where config.json has none; default all of them. */
  readonly hfPartialRotary?: number;
  /** What config.json means where it has no tie_word_embeddings; default false. */
  readonly hfTied?: boolean;
  /** Its checkpoints have the experts of a layer stacked, each one's gate above its up. */
  readonly hfFusedExperts?: boolean;
  /**
   * Vectors that its checkpoints store otherwise than GGUF files.
   *
   * @param mlx whether mlx-lm saved the checkpoint anew
   */
  hfVector?(weight: ModelWeight | LayerWeight, mlx: boolean): StoredVector | undefined;
  /** Reads what this architecture alone has. */
  read?(metadata: MetadataReader): OwnHyperparameters;
  /** The same, for the files of synthetic models: keys of config.json, and of GGUF below its prefix. */
  write?(h: Hyperparameters): {
    readonly gguf: Readonly<Record<string, GgufValue>>;
    readonly hf: Readonly<Record<string, unknown>>;
  };
  /** All layers, in order. */
  layers(h: Hyperparameters): LayerSpec[];
  /** What else the engine has to know. */
  config?(
    h: Hyperparameters,
  ): Partial<Pick<ModelConfig, "embeddingScale" | "logitScale" | "rmsEpsilon">>;
}

/** Attention as most have it; `more` says what differs. */
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

/** A dense feed-forward network gated by silu. */
export function dense({ ffnDim: width, ffnBias = false }: Hyperparameters): DenseSpec {
  return { kind: "dense", width, activation: "silu", ...(ffnBias && { bias: true }) };
}

/** Llama's layers, each with its own window, and with RoPE or without; `more` says what differs. */
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

/** RoPE that leaves queries and keys as they are. */
export function unrotated(rope: RopeSpec): RopeSpec {
  return { ...rope, dims: 0, scaling: { kind: "none" }, factors: false };
}

/** Layers that are all alike. */
export function repeated(count: number, layer: LayerSpec): LayerSpec[] {
  return Array.from({ length: count }, () => layer);
}
