/** Hyperparameters read from GGUF or config.json, from which the architectures build the layers. */

import type { DeltaNetSpec, ExpertsSpec, MambaSpec } from "./config.ts";
import type { RopeSpec, TemperatureSpec } from "./rope.ts";

/** The kind of a layer that consists of a single branch. */
export type LayerKind = "mamba" | "attention" | "dense" | "experts";

/** Sizes and constants as files state them. Unless noted, they apply to all layers. */
export interface Hyperparameters {
  /** `general.architecture` of GGUF. */
  readonly architecture: string;
  /** `general.name`, or the file's name. */
  readonly name: string;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Rows of gate and up of the dense feed-forward network. */
  readonly ffnDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly rmsEpsilon: number;
  readonly rope: RopeSpec;
  readonly tiedOutput: boolean;
  /** Whether queries, keys and values have biases. */
  readonly attentionBias: boolean;
  /** Whether the output projection of attention has a bias; default false. */
  readonly outputBias?: boolean;
  /** Whether gate, up and down have biases; default false. */
  readonly ffnBias?: boolean;
  /** For each layer, how many positions a token sees; undefined for all. Default: all. */
  readonly windows?: readonly (number | undefined)[];
  /** For each layer, whether RoPE rotates its queries and keys; default true. */
  readonly rotates?: readonly boolean[];
  readonly temperature?: TemperatureSpec;
  /**
   * For Granite: multipliers of embeddings, of the results of branches, and of q · k (0: 1 / √(head
   * size)), and the divisor of logits.
   */
  readonly scales?: {
    readonly embedding: number;
    readonly residual: number;
    readonly attention: number;
    readonly logits: number;
  };
  /** For architectures in which the last layer of every `period` sees all tokens. */
  readonly window?: {
    /** Number of positions that a token sees in the other layers. */
    readonly tokens: number;
    readonly period: number;
    /** RoPE base of the layers with the window. */
    readonly ropeBase: number;
  };
  /** For architectures with gated delta nets in all layers but the last of every `period`. */
  readonly deltaNet?: Omit<DeltaNetSpec, "kind"> & { readonly period: number };
  /** For architectures whose layers have a single branch: the kind of each layer. */
  readonly kinds?: readonly LayerKind[];
  /** Sizes of the Mamba layers among `kinds`. */
  readonly mamba?: Omit<MambaSpec, "kind">;
  /** q · k is divided by the square root of this number; default the head size. */
  readonly queryScalar?: number;
  /** For architectures with routed experts. */
  readonly experts?: Omit<ExpertsSpec, "kind" | "activation">;
}
