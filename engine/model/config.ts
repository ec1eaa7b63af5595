/** What the engine needs to know of a model, checked once when it is opened. */

/** How the rotation frequencies of RoPE were stretched to a longer context. */
export type RopeScaling =
  | { readonly kind: "none" }
  /** Every frequency divided by `factor`. */
  | { readonly kind: "linear"; readonly factor: number }
  /** Low frequencies divided by `factor`, a ramp between the two bounds (Llama 3.1). */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    readonly lowFrequencyFactor: number;
    readonly highFrequencyFactor: number;
    readonly originalContext: number;
  }
  /** A ramp by rotations within the original context (YaRN, arXiv:2309.00071). */
  | {
    readonly kind: "yarn";
    readonly factor: number;
    readonly originalContext: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    /** Multiplies the rotated vectors, on top of YaRN's own 0.1 ln(factor) + 1. */
    readonly attentionFactor: number;
  };

/** Routed experts, which stand in every layer in place of one feed-forward network. */
export interface ExpertConfig {
  readonly count: number;
  /** How many of them a token is routed to. */
  readonly used: number;
  readonly ffnDim: number;
  /** The weights of a token's experts sum to 1; otherwise they are shares of a softmax over all. */
  readonly normalized: boolean;
}

/** Dimensions and constants of a decoder-only transformer. */
export interface ModelConfig {
  /** `general.architecture`: the name of its family. */
  readonly architecture: string;
  /** `general.name`, or the file's name. */
  readonly name: string;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffnDim: number;
  readonly vocabSize: number;
  /** Longest sequence the model was trained for, in tokens. */
  readonly contextLength: number;
  readonly rmsEpsilon: number;
  readonly ropeBase: number;
  /** Dimensions of a head that are rotated, from its start on. */
  readonly ropeDims: number;
  /** Which pairs rotate together: (0,1),(2,3)… or (0,n/2),(1,n/2+1)… (GPT-NeoX). */
  readonly ropeLayout: "interleaved" | "half";
  readonly ropeScaling: RopeScaling;
  /** The weights have `ropeFactors` [ropeDims/2]: the frequency of pair i is divided by element i. */
  readonly ropeFactors: boolean;
  /** A bias is added to queries, keys and values. */
  readonly qkvBias: boolean;
  /** Each head's query and key pass an RMSNorm before RoPE. */
  readonly queryKeyNorm: boolean;
  /** The output head is the embedding matrix. */
  readonly tiedOutput: boolean;
  /** Absent: the model is dense. */
  readonly experts?: ExpertConfig;
}
