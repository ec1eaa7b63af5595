/** What a file of this folder says of one architecture, and what most of them have in common. */

import type { AttentionSpec, DenseSpec, LayerSpec, ModelConfig } from "../config.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import type { RopeSpec } from "../rope.ts";
import type { LayerWeight } from "../weight_names.ts";

/** Hyperparameters that one architecture alone has. */
export type OwnHyperparameters = Partial<Hyperparameters>;

/** A number of GGUF metadata: llama.cpp refuses one of another type than it expects. */
export interface GgufNumber {
  readonly type: "uint32" | "float32";
  readonly value: number;
}

export function uint(value: number): GgufNumber {
  return { type: "uint32", value };
}

export function float(value: number): GgufNumber {
  return { type: "float32", value };
}

/** One architecture: where its files differ from others', and the layers that they describe. */
export interface Architecture {
  /** `general.architecture` of GGUF. */
  readonly gguf: string;
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** How GGUF files pair the elements of a head; Hugging Face's checkpoints pair halves. */
  readonly ggufRopeLayout: RopeSpec["layout"];
  /** Whether queries, keys and values have a bias; "optional": if the GGUF file has one. */
  readonly attentionBias: boolean | "optional";
  /** The head size where config.json has none; default the width by the heads. */
  readonly headDim?: number;
  /** Its checkpoints' names where they differ from LAYER_WEIGHTS; `{}` stands for the layer. */
  readonly hfNames?: Partial<Readonly<Record<LayerWeight, string>>>;
  /** What config.json means where it has no tie_word_embeddings; default false. */
  readonly hfTied?: boolean;
  /** Its checkpoints store the weights of norms less this; default 0. */
  readonly hfNormOffset?: number;
  /** Reads what this architecture alone has. */
  read?(metadata: MetadataReader): OwnHyperparameters;
  /** The same, for the files of synthetic models: keys of config.json, and of GGUF below its prefix. */
  write?(h: Hyperparameters): {
    readonly gguf: Readonly<Record<string, GgufNumber>>;
    readonly hf: Readonly<Record<string, unknown>>;
  };
  /** All layers, in order. */
  layers(h: Hyperparameters): LayerSpec[];
  /** What else the engine has to know. */
  config?(h: Hyperparameters): Partial<Pick<ModelConfig, "embeddingScale">>;
}

/** Attention as most have it; `more` says what differs. */
export function attention(
  { heads, kvHeads, headDim, rope, attentionBias: bias }: Hyperparameters,
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
    ...more,
  };
}

/** A dense feed-forward network gated by silu. */
export function dense({ ffnDim: width }: Hyperparameters): DenseSpec {
  return { kind: "dense", width, activation: "silu" };
}

/** Layers that are all alike. */
export function repeated(count: number, layer: LayerSpec): LayerSpec[] {
  return Array.from({ length: count }, () => layer);
}
