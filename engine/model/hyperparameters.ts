/** What a model's file says of it, the same for GGUF and config.json; architectures make layers of it. */

import type { DeltaNetSpec, ExpertsSpec, MambaSpec } from "./config.ts";
import type { RopeSpec, TemperatureSpec } from "./rope.ts";

/** What a layer has that has one thing alone. */
export type LayerKind = "mamba" | "attention" | "dense" | "experts";

/** Sizes and constants as files state them: one number for all layers. */
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
  /** The file has biases of queries, keys and values. */
  readonly attentionBias: boolean;
  /** It has a bias of what the heads give together; default false. */
  readonly outputBias?: boolean;
  /** It has biases of gate, up and down; default false. */
  readonly ffnBias?: boolean;
  /** By layer, the positions that its tokens see, undefined for all of them; default all. */
  readonly windows?: readonly (number | undefined)[];
  /** By layer, whether RoPE rotates its queries and keys; default true. */
  readonly rotates?: readonly boolean[];
  readonly temperature?: TemperatureSpec;
  /** Of Granite: multipliers of embeddings, of what layers add, and of q · k; and what divides logits. */
  readonly scales?: {
    readonly embedding: number;
    readonly residual: number;
    readonly attention: number;
    readonly logits: number;
  };
  /** Of architectures in which all layers but the last of every `period` see this many tokens alone. */
  readonly window?: {
    readonly tokens: number;
    readonly period: number;
    /** RoPE base of the layers with the window. */
    readonly ropeBase: number;
  };
  /** Of architectures in which all layers but the last of every `period` have a gated delta net. */
  readonly deltaNet?: Omit<DeltaNetSpec, "kind"> & { readonly period: number };
  /** Of architectures whose layers have one thing each: what, layer by layer, and the sizes of Mamba's. */
  readonly kinds?: readonly LayerKind[];
  readonly mamba?: Omit<MambaSpec, "kind">;
  /** q · k is divided by its square root; default the head size. */
  readonly queryScalar?: number;
  /** Of architectures with routed experts. */
  readonly experts?: Omit<ExpertsSpec, "kind" | "activation">;
}
