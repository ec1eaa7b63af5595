/** What the engine needs to know of a model, checked once when it is opened. */

/** Dimensions and constants of a decoder-only transformer. */
export interface ModelConfig {
  /** `general.architecture`: names the file of engine/models that runs it. */
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
  /** The output head is the embedding matrix. */
  readonly tiedOutput: boolean;
}
