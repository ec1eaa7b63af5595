/** What the engine runs: a model as a list of layers, checked once when its file is opened. */

import type { RopeSpec, TemperatureSpec } from "./rope.ts";

/**
 * The nonlinearity of a feed-forward network; `gelu` is the tanh approximation, `relu2` the square of
 * what is above 0.
 */
export type Activation = "silu" | "gelu" | "relu2";

/** Softmax attention over the keys and values of earlier tokens, its own included. */
export interface AttentionSpec {
  /** Tells it from other mixers. */
  readonly kind: "attention";
  /** Heads of the queries. */
  readonly heads: number;
  /** Divides `heads`: each serves heads / kvHeads query heads. */
  readonly kvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Multiplies q · k. */
  readonly scale: number;
  /** Positions that a token sees, its own included; absent: all of them. */
  readonly window?: number;
  /** How queries and keys are rotated. */
  readonly rope: RopeSpec;
  /** How queries grow with their position, so that attention stays as sharp over long texts. */
  readonly temperature?: TemperatureSpec;
  /** Each head's query and key pass an RMSNorm before RoPE. */
  readonly headNorm: boolean;
  /** A bias is added to queries, keys and values. */
  readonly bias: boolean;
  /** A bias is added to what the heads give together; absent: none. */
  readonly outputBias?: boolean;
  /** What the heads give is multiplied by sigmoid(gate · x) before it is projected back. */
  readonly gated?: boolean;
}

/**
 * What mixers with a state have in common: each head of values has a matrix S [valueDim, keyDim], which
 * a token decays, adds to by its key and value, and reads by its query. Queries, keys and values first
 * pass a convolution over the last tokens and silu.
 */
export interface RecurrentHeads {
  /** Heads of the queries and keys. */
  readonly keyHeads: number;
  /** Heads of the values; a multiple of `keyHeads`. */
  readonly valueHeads: number;
  /** Width of a head of queries and keys; a multiple of 4, as `valueDim`. */
  readonly keyDim: number;
  /** Width of a head of values. */
  readonly valueDim: number;
  /** Tokens that the convolution sees, its own included. */
  readonly taps: number;
}

/**
 * The gated delta rule (arXiv:2412.06464): a token changes S to
 * decay · S + strength · (v − decay · S · k) kᵀ, and gives S · q. Each head is normalized and then
 * multiplied by silu of its gate.
 */
export interface DeltaNetSpec extends RecurrentHeads {
  /** Tells it from other mixers. */
  readonly kind: "delta-net";
  /** Head h of the values has that of keys h mod keyHeads, rather than floor(h · keyHeads / valueHeads). */
  readonly tiled: boolean;
}

/**
 * Mamba-2 (arXiv:2405.21060), by the names of its dual, attention: B is a key, C a query, x a value, and
 * a group of heads shares a key head. A token changes S to decay · S + step · v kᵀ, and gives
 * S · q + skip · v. All values of a group are multiplied by silu of their gates and then normalized.
 */
export interface MambaSpec extends RecurrentHeads {
  /** Tells it from other mixers. */
  readonly kind: "mamba";
  /** The convolution adds a bias. */
  readonly convolutionBias: boolean;
}

/** A mixer whose state has a fixed size. */
export type RecurrentSpec = DeltaNetSpec | MambaSpec;

/** How a layer mixes tokens. */
export type MixerSpec = AttentionSpec | RecurrentSpec;

/** down · (activation(gate · x) ⊙ up · x), or without a gate down · activation(up · x). */
export interface DenseSpec {
  /** Tells it from experts. */
  readonly kind: "dense";
  /** Rows of gate and up. */
  readonly width: number;
  /** What the gate passes, or up where there is none. */
  readonly activation: Activation;
  /** There is no gate. */
  readonly gateless?: boolean;
  /** Gate, up and down have a bias; absent: none. */
  readonly bias?: boolean;
}

/** A router sends each token to some of many such networks, whose results are summed by weight. */
export interface ExpertsSpec {
  /** Tells it from one dense network. */
  readonly kind: "experts";
  /** How many there are. */
  readonly count: number;
  /** How many of them a token is routed to. */
  readonly used: number;
  /** Rows of gate and up of one expert. */
  readonly width: number;
  /** The weights of a token's experts sum to 1; otherwise they are shares of a softmax over all. */
  readonly normalized: boolean;
  /**
   * Instead of a softmax, each logit passes a sigmoid. Experts are chosen by that plus a bias of each
   * expert, and their weights, without the bias, are multiplied by `scale`.
   */
  readonly sigmoid?: { readonly scale: number };
  /** What each gate passes, or each up where there is none. */
  readonly activation: Activation;
  /** Experts, the shared one too, have no gate. */
  readonly gateless?: boolean;
  /** One more that every token passes. */
  readonly shared?: {
    /** Rows of its gate and up. */
    readonly width: number;
    /** Its result is added as it is; otherwise times sigmoid(router · x), with a router of its own. */
    readonly always?: boolean;
  };
}

/** What follows the mixer in a layer. */
export type FeedForwardSpec = DenseSpec | ExpertsSpec;

/** One layer: h += mixer(norm(h)), then h += feedForward(norm(h)). It has both, or one of them. */
export interface LayerSpec {
  /** What looks at other tokens. */
  readonly mixer?: MixerSpec;
  /** What each token passes on its own. */
  readonly feedForward?: FeedForwardSpec;
  /** What the mixer and the feed-forward give passes an RMSNorm too before it is added. */
  readonly postNorms: boolean;
}

/** A decoder-only model. */
export interface ModelConfig {
  /** `general.architecture` of GGUF; for reports and file names, no backend looks at it. */
  readonly architecture: string;
  /** `general.name`, or the file's name. */
  readonly name: string;
  /** Width of a token between the layers. */
  readonly dim: number;
  /** Token ids that it reads and writes. */
  readonly vocabSize: number;
  /** Longest sequence the model was trained for, in tokens. */
  readonly contextLength: number;
  /** Added to the mean square in every RMSNorm. */
  readonly rmsEpsilon: number;
  /** Multiplies the embedding of each token that enters. */
  readonly embeddingScale: number;
  /** Multiplies the logits. */
  readonly logitScale: number;
  /** The output head is the embedding matrix. */
  readonly tiedOutput: boolean;
  /** In the order that a token passes them. */
  readonly layers: readonly LayerSpec[];
  /** Keys of the file that may change what is computed and were not understood; absent if none. */
  readonly unknownKeys?: readonly string[];
}

/** The config with those of `keys` that are not known to be harmless. */
export function withUnknownKeys(
  config: ModelConfig,
  keys: readonly string[],
  harmless: RegExp,
): ModelConfig {
  const unknown = keys.filter((key) => !harmless.test(key));
  return unknown.length === 0 ? config : { ...config, unknownKeys: unknown };
}
