/** Computes the bytes and operations of a token from the list of layers, for limits and reports. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import type { TensorInfo } from "../files/model_file.ts";
import type { ModelConfig, RecurrentSpec } from "./config.ts";
import { expectedWeights } from "./expected_weights.ts";
import { kvBlocksHeld } from "./kv_groups.ts";
import { channelsOf, recurrentOf, stateFloats } from "./mixers.ts";

/** Attention layers that cost the same. */
export interface LayerKind {
  /** Number of layers of this kind. */
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Number of positions that a token sees; if absent, all of them. */
  readonly window?: number | undefined;
  /** Whether a norm is applied to each head's query and key. */
  readonly headNorm: boolean;
  /** Number of experts that a token is routed to; absent if the layer has no routed experts. */
  readonly experts?: number | undefined;
}

/** Returns the kinds of a model's attention layers, in the order of their first occurrence. */
export function layerKinds({ layers }: Pick<ModelConfig, "layers">): LayerKind[] {
  const byCost = new Map<string, LayerKind>();
  for (const { mixer, feedForward } of layers) {
    if (mixer?.kind !== "attention") continue;
    const { heads, kvHeads, headDim, window, headNorm } = mixer;
    const kind = {
      ...{ heads, kvHeads, headDim, headNorm },
      ...(window !== undefined && { window }),
      ...(feedForward?.kind === "experts" && { experts: feedForward.used }),
    };
    const key = JSON.stringify(kind);
    byCost.set(key, { ...kind, layers: (byCost.get(key)?.layers ?? 0) + 1 });
  }
  return [...byCost.values()];
}

/** Returns how many positions the last token of a sequence of `length` tokens sees. */
export function positionsSeen({ window = Infinity }: LayerKind, length: number): number {
  return Math.min(length, window);
}

/** Returns the sum over all tokens of a text of the number of positions that each sees. */
export function positionsSeenByAll({ window = Infinity }: LayerKind, tokens: number): number {
  const growing = Math.min(tokens, window);
  return growing * (growing + 1) / 2 + (tokens - growing) * growing;
}

/** Returns the bytes of the keys and values of one token in one of these layers. */
function kvBytes({ kvHeads, headDim }: LayerKind, elementBytes: number): number {
  return 2 * kvHeads * headDim * elementBytes;
}

/** Returns the bytes that a token adds to the KV cache, for all layers together. */
export function kvBytesPerToken(kinds: readonly LayerKind[], elementBytes: number): number {
  return kinds.reduce((sum, kind) => sum + kind.layers * kvBytes(kind, elementBytes), 0);
}

/** Returns the bytes of keys and values that the last token of `length` tokens reads. */
export function kvBytesRead(
  kinds: readonly LayerKind[],
  length: number,
  elementBytes: number,
): number {
  return kinds.reduce(
    (sum, kind) => sum + kind.layers * kvBytes(kind, elementBytes) * positionsSeen(kind, length),
    0,
  );
}

/** Returns the bytes of a block in each group of layers, in the order of `kvGroups`. */
export function kvBlockBytes(kinds: readonly LayerKind[], elementBytes: number): number[] {
  const byWindow = new Map<number, number>();
  for (const kind of kinds) {
    const { window = Infinity, layers } = kind;
    const bytes = layers * BLOCK_TOKENS * kvBytes(kind, elementBytes);
    byWindow.set(window, (byWindow.get(window) ?? 0) + bytes);
  }
  return [...byWindow].sort(([a], [b]) => a < b ? 1 : -1).map(([, bytes]) => bytes);
}

/** Returns the bytes of the blocks that a decoding sequence of `length` tokens occupies. */
export function kvBytesHeld(
  kinds: readonly LayerKind[],
  length: number,
  elementBytes: number,
): number {
  return kinds.reduce((sum, kind) => {
    const window = kind.window === undefined ? {} : { window: kind.window };
    const blocks = kvBlocksHeld(window, { tokens: length, sequences: 1, entering: 0 });
    return sum + kind.layers * BLOCK_TOKENS * kvBytes(kind, elementBytes) * blocks;
  }, 0);
}

/** Returns the operations of attention for the last token of a sequence of `length` tokens. */
export function attentionOperations(kinds: readonly LayerKind[], length: number): number {
  return sumOfLayers(kinds, (kind) => positionsSeen(kind, length));
}

/** Returns the operations of attention for all tokens of a text. */
export function attentionOperationsOfAll(kinds: readonly LayerKind[], tokens: number): number {
  return sumOfLayers(kinds, (kind) => positionsSeenByAll(kind, tokens));
}

/** Counts q · k and p · v: a multiplication and an addition each, per element of each position. */
function sumOfLayers(kinds: readonly LayerKind[], positions: (kind: LayerKind) => number): number {
  return kinds.reduce(
    (sum, kind) => sum + 4 * kind.layers * kind.heads * kind.headDim * positions(kind),
    0,
  );
}

/** The cost of the states of recurrent layers. */
export interface StateCost {
  /** Bytes of the states of one sequence, all layers together. A token reads and writes all. */
  readonly bytes: number;
  /** Operations of a token: its convolutions, and the updates and reads of the states. */
  readonly operations: number;
  /** The share of the convolutions in both. */
  readonly convolution: { readonly bytes: number; readonly operations: number };
}

/** Returns the cost of the states, or undefined for models without recurrent layers. */
export function stateCost({ layers }: Pick<ModelConfig, "layers">): StateCost | undefined {
  const nets = recurrentOf(layers);
  if (nets.length === 0) return undefined;
  const sum = (of: (net: RecurrentSpec) => number) => nets.reduce((all, net) => all + of(net), 0);
  const convolution = {
    bytes: sum((net) => 4 * stateFloats(net).convolution),
    operations: sum((net) => 2 * net.taps * channelsOf(net)),
  };
  return {
    bytes: convolution.bytes + sum((net) => 4 * stateFloats(net).matrices),
    // 1 for the decay, 2 for the update, 2 for the product with the query. A delta net has another
    // product, with the key.
    operations: convolution.operations +
      sum((net) => (net.kind === "mamba" ? 5 : 7) * stateFloats(net).matrices),
    convolution,
  };
}

/** The part of a weight that a decoded token reads. */
export interface WeightRead {
  readonly tensor: TensorInfo;
  /** Whether it is a matrix: a factor of a matrix product, or the embedding. */
  readonly isMatrix: boolean;
  /** 1 for the whole weight; for experts the share that is used; for an embedding one row. */
  readonly share: number;
}

/**
 * Returns for each tensor how much of it a decoded token reads. Tensors are matched by the engine's
 * names. A tensor that the config does not list is not read.
 */
export function weightReads(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorInfo>,
): WeightRead[] {
  const shares = new Map<string, number>();
  const convolutions = new Set<string>();
  for (const { weight, name, layer } of expectedWeights(config)) {
    const feedForward = layer === undefined ? undefined : config.layers[layer]!.feedForward;
    const ofExperts = weight === "expertGates" || weight === "expertUps" ||
      weight === "expertDowns";
    if (weight === "convolution") convolutions.add(name);
    shares.set(
      name,
      weight === "embedding" && !config.tiedOutput
        ? 1 / config.vocabSize
        : ofExperts && feedForward?.kind === "experts"
        ? feedForward.used / feedForward.count
        : 1,
    );
  }
  // A tensor's key in the map is used, because `tensor.name` may be a checkpoint's name.
  return Array.from(tensors, ([name, tensor]) => ({
    tensor,
    isMatrix: tensor.shape.length >= 2 && !convolutions.has(name),
    share: shares.get(name) ?? 0,
  }));
}
