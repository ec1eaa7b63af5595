/** The model that the engine runs, as a list of layers, checked once when its file is opened. */

import type { RopeSpec, TemperatureSpec } from "./rope.ts";

/**
 * The nonlinearity of a feed-forward network. `gelu` is the tanh approximation; `relu2` is
 * max(x, 0)².
 */
export type Activation = "silu" | "gelu" | "relu2";

/** Softmax attention of a token over the keys and values of itself and earlier tokens. */
export interface AttentionSpec {
  /** Discriminates `MixerSpec`. */
  readonly kind: "attention";
  /** Number of query heads. */
  readonly heads: number;
  /** Number of key-value heads. It divides `heads`: each serves heads / kvHeads query heads. */
  readonly kvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Multiplies q · k. */
  readonly scale: number;
  /** Number of positions that a token sees, its own included; if absent, all of them. */
  readonly window?: number;
  /** How queries and keys are rotated. */
  readonly rope: RopeSpec;
  /** Scales queries up with their position, which keeps attention sharp over long texts. */
  readonly temperature?: TemperatureSpec;
  /** Whether an RMSNorm is applied to each head's query and key before RoPE. */
  readonly headNorm: boolean;
  /** Whether a bias is added to queries, keys and values. */
  readonly bias: boolean;
  /** Whether the output projection adds a bias; default false. */
  readonly outputBias?: boolean;
  /** Whether the heads' output is multiplied by sigmoid(gate · x) before the output projection. */
  readonly gated?: boolean;
}

/**
 * Sizes that all mixers with a state have. Each value head has a matrix S [valueDim, keyDim]. A
 * token decays S, adds a product of its value and key to it, and reads it with its query. Before
 * that, queries, keys and values go through a convolution over the last tokens, and silu.
 */
export interface RecurrentHeads {
  /** Number of heads of queries, and of keys. */
  readonly keyHeads: number;
  /** Number of value heads; a multiple of `keyHeads`. */
  readonly valueHeads: number;
  /** Width of a head of queries or keys; a multiple of 4. */
  readonly keyDim: number;
  /** Width of a value head; a multiple of 4. */
  readonly valueDim: number;
  /** Number of tokens that the convolution sees, the current one included. */
  readonly taps: number;
}

/**
 * The gated delta rule (arXiv:2412.06464): a token changes S to decay · S + strength · (v − decay ·
 * S · k) kᵀ, and its output is S · q. The output of each head is normalized and then multiplied by
 * silu of its gate.
 */
export interface DeltaNetSpec extends RecurrentHeads {
  /** Discriminates `MixerSpec`. */
  readonly kind: "delta-net";
  /**
   * Whether value head h uses key head h mod keyHeads. Otherwise it uses key head
   * floor(h · keyHeads / valueHeads).
   */
  readonly tiled: boolean;
}

/**
 * Mamba-2 (arXiv:2405.21060), with the names of attention, its dual: B is a key, C a query, x a
 * value, and a group of heads shares a key head. A token changes S to decay · S + step · v kᵀ, and
 * its output is S · q + skip · v. The outputs of a group are multiplied by silu of their gates and
 * then normalized together.
 */
export interface MambaSpec extends RecurrentHeads {
  /** Discriminates `MixerSpec`. */
  readonly kind: "mamba";
  /** Whether the convolution adds a bias. */
  readonly convolutionBias: boolean;
}

/** A mixer whose state has a fixed size. */
export type RecurrentSpec = DeltaNetSpec | MambaSpec;

/** The part of a layer that combines information of several tokens. */
export type MixerSpec = AttentionSpec | RecurrentSpec;

/** Computes down · (activation(gate · x) ⊙ up · x), or without a gate down · activation(up · x). */
export interface DenseSpec {
  /** Discriminates `FeedForwardSpec`. */
  readonly kind: "dense";
  /** Rows of gate and up. */
  readonly width: number;
  /** Applied to gate · x, or to up · x if there is no gate. */
  readonly activation: Activation;
  /** Whether the gate is missing. */
  readonly gateless?: boolean;
  /** Whether gate, up and down have a bias; default false. */
  readonly bias?: boolean;
}

/**
 * A router sends each token to some of many such networks. Their results are summed with weights.
 */
export interface ExpertsSpec {
  /** Discriminates `FeedForwardSpec`. */
  readonly kind: "experts";
  /** Number of experts. */
  readonly count: number;
  /** Number of experts that a token is routed to. */
  readonly used: number;
  /** Rows of gate and up of one expert. */
  readonly width: number;
  /**
   * Whether the weights of a token's experts are scaled to sum to 1. Otherwise they are the
   * probabilities of a softmax over all experts, or with `sigmoid` the sigmoids.
   */
  readonly normalized: boolean;
  /**
   * If present, a sigmoid is applied to each logit instead of a softmax. Experts are chosen by the
   * sigmoid plus a bias for each expert. Their weights do not include the bias and are multiplied
   * by `scale`.
   */
  readonly sigmoid?: { readonly scale: number };
  /** Applied in each expert to gate · x, or to up · x if there is no gate. */
  readonly activation: Activation;
  /** Whether experts, including the shared one, have no gate. */
  readonly gateless?: boolean;
  /** An additional expert that processes every token. */
  readonly shared?: {
    /** Rows of its gate and up. */
    readonly width: number;
    /**
     * Whether its result is added unscaled. Otherwise it is multiplied by sigmoid(router · x), with
     * a router of its own.
     */
    readonly always?: boolean;
  };
}

/** The part of a layer after the mixer. */
export type FeedForwardSpec = DenseSpec | ExpertsSpec;

/**
 * A layer: h += mixer(norm(h)), then h += feedForward(norm(h)). It has both parts or one of them.
 */
export interface LayerSpec {
  /** The part that reads other tokens. */
  readonly mixer?: MixerSpec;
  /** The part that processes each token on its own. */
  readonly feedForward?: FeedForwardSpec;
  /** Whether an RMSNorm is also applied to the results of mixer and feed-forward, before adding. */
  readonly postNorms: boolean;
}

/** A decoder-only model. */
export interface ModelConfig {
  /** `general.architecture` of GGUF. It selects the names of weights; no backend reads it. */
  readonly architecture: string;
  /** `general.name`, or the file's name. */
  readonly name: string;
  /** Width of a token's vector between layers. */
  readonly dim: number;
  /** Number of token ids that the model reads and predicts. */
  readonly vocabSize: number;
  /** Longest sequence the model was trained for, in tokens. */
  readonly contextLength: number;
  /** Added to the mean square in every RMSNorm. */
  readonly rmsEpsilon: number;
  /** Multiplies the embedding of each input token. */
  readonly embeddingScale: number;
  /** Multiplies the logits. */
  readonly logitScale: number;
  /** Whether the output head is the embedding matrix. */
  readonly tiedOutput: boolean;
  /** The layers, in the order in which they run. */
  readonly layers: readonly LayerSpec[];
  /** Unknown keys of the file that may change the computation; absent if there are none. */
  readonly unknownKeys?: readonly string[];
}

/** Returns the config with the keys that do not match `harmless` as its `unknownKeys`. */
export function withUnknownKeys(
  config: ModelConfig,
  keys: readonly string[],
  harmless: RegExp,
): ModelConfig {
  const unknown = keys.filter((key) => !harmless.test(key));
  return unknown.length === 0 ? config : { ...config, unknownKeys: unknown };
}
