/** What the engine runs: a model as a list of layers, checked once when its file is opened. */

import type { RopeSpec } from "./rope.ts";

/** The nonlinearity of a gated feed-forward network; `gelu` is the tanh approximation. */
export type Activation = "silu" | "gelu";

/** Softmax attention over the keys and values of earlier tokens, its own included. */
export interface AttentionSpec {
  readonly kind: "attention";
  readonly heads: number;
  /** Divides `heads`: each serves heads / kvHeads query heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Multiplies q · k. */
  readonly scale: number;
  /** Positions that a token sees, its own included; absent: all of them. */
  readonly window?: number;
  readonly rope: RopeSpec;
  /** Each head's query and key pass an RMSNorm before RoPE. */
  readonly headNorm: boolean;
  /** A bias is added to queries, keys and values. */
  readonly bias: boolean;
}

/** How a layer mixes tokens. A recurrent kind would be another member, with a state of its own. */
export type MixerSpec = AttentionSpec;

/** down · (activation(gate · x) ⊙ up · x). */
export interface DenseSpec {
  readonly kind: "dense";
  /** Rows of gate and up. */
  readonly width: number;
  readonly activation: Activation;
}

/** A router sends each token to some of many such networks, whose results are summed by weight. */
export interface ExpertsSpec {
  readonly kind: "experts";
  readonly count: number;
  /** How many of them a token is routed to. */
  readonly used: number;
  /** Rows of gate and up of one expert. */
  readonly width: number;
  /** The weights of a token's experts sum to 1; otherwise they are shares of a softmax over all. */
  readonly normalized: boolean;
  readonly activation: Activation;
}

export type FeedForwardSpec = DenseSpec | ExpertsSpec;

/** One layer: h += mixer(norm(h)), then h += feedForward(norm(h)). */
export interface LayerSpec {
  readonly mixer: MixerSpec;
  readonly feedForward: FeedForwardSpec;
  /** What the mixer and the feed-forward give passes an RMSNorm too before it is added. */
  readonly postNorms: boolean;
}

/** A decoder-only model. */
export interface ModelConfig {
  /** `general.architecture` of GGUF; for reports and file names, no backend looks at it. */
  readonly architecture: string;
  /** `general.name`, or the file's name. */
  readonly name: string;
  readonly dim: number;
  readonly vocabSize: number;
  /** Longest sequence the model was trained for, in tokens. */
  readonly contextLength: number;
  readonly rmsEpsilon: number;
  /** Multiplies the embedding of each token that enters. */
  readonly embeddingScale: number;
  /** The output head is the embedding matrix. */
  readonly tiedOutput: boolean;
  readonly layers: readonly LayerSpec[];
}
