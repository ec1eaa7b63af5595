/** What a token costs: bytes and operations, from the list of layers; for limits and reports. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import type { TensorInfo } from "../files/model_file.ts";
import type { ModelConfig, RecurrentSpec } from "./config.ts";
import { expectedWeights } from "./expected_weights.ts";
import { kvBlocksHeld } from "./kv_groups.ts";
import { channelsOf, recurrentOf, stateFloats } from "./mixers.ts";

/** Layers of attention that cost the same. */
export interface LayerKind {
  /** How many there are. */
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Positions that a token sees; absent: all of them. */
  readonly window?: number | undefined;
  /** Queries and keys pass a norm of each head. */
  readonly headNorm: boolean;
  /** Experts that a token is routed to, each of three matrices; absent: a dense feed-forward. */
  readonly experts?: number | undefined;
}

/** The kinds of a model's layers of attention, in the order in which they first come. */
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

/** Positions that a token sees whose sequence has `length` tokens by then, its own included. */
export function positionsSeen({ window = Infinity }: LayerKind, length: number): number {
  return Math.min(length, window);
}

/** The sum over a text's tokens of the positions that each of them sees. */
export function positionsSeenByAll({ window = Infinity }: LayerKind, tokens: number): number {
  const growing = Math.min(tokens, window);
  return growing * (growing + 1) / 2 + (tokens - growing) * growing;
}

/** Bytes of the keys and values of one token in one of these layers. */
function kvBytes({ kvHeads, headDim }: LayerKind, elementBytes: number): number {
  return 2 * kvHeads * headDim * elementBytes;
}

/** Bytes that a token adds to the KV cache, all layers together. */
export function kvBytesPerToken(kinds: readonly LayerKind[], elementBytes: number): number {
  return kinds.reduce((sum, kind) => sum + kind.layers * kvBytes(kind, elementBytes), 0);
}

/** Bytes of keys and values that a token reads whose sequence has `length` tokens. */
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

/** Bytes of a block of each group of layers, in the order of `kvGroups`. */
export function kvBlockBytes(kinds: readonly LayerKind[], elementBytes: number): number[] {
  const byWindow = new Map<number, number>();
  for (const kind of kinds) {
    const { window = Infinity, layers } = kind;
    const bytes = layers * BLOCK_TOKENS * kvBytes(kind, elementBytes);
    byWindow.set(window, (byWindow.get(window) ?? 0) + bytes);
  }
  return [...byWindow].sort(([a], [b]) => a < b ? 1 : -1).map(([, bytes]) => bytes);
}

/** Bytes of the blocks of a sequence of `length` tokens that decodes. */
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

/** Operations of the attention of a token whose sequence has `length` tokens. */
export function attentionOperations(kinds: readonly LayerKind[], length: number): number {
  return sumOfLayers(kinds, (kind) => positionsSeen(kind, length));
}

/** Operations of the attention of all tokens of a text. */
export function attentionOperationsOfAll(kinds: readonly LayerKind[], tokens: number): number {
  return sumOfLayers(kinds, (kind) => positionsSeenByAll(kind, tokens));
}

/** q · k and p · v, a multiplication and an addition for each element of each position. */
function sumOfLayers(kinds: readonly LayerKind[], positions: (kind: LayerKind) => number): number {
  return kinds.reduce(
    (sum, kind) => sum + 4 * kind.layers * kind.heads * kind.headDim * positions(kind),
    0,
  );
}

/** What the states of recurrent layers cost. */
export interface StateCost {
  /** Of one sequence, all layers together: a token reads and writes them. */
  readonly bytes: number;
  /** Of a token: its convolutions, and the changes and reads of the states. */
  readonly operations: number;
  /** The part of both that convolutions have. */
  readonly convolution: { readonly bytes: number; readonly operations: number };
}

/** Undefined for models without states. */
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
    // A decay, a change, and a product with the query; of a delta net one more to read what is known.
    operations: convolution.operations +
      sum((net) => (net.kind === "mamba" ? 5 : 7) * stateFloats(net).matrices),
    convolution,
  };
}

/** How much of a weight a decoded token reads. */
export interface WeightRead {
  readonly tensor: TensorInfo;
  /** A matrix that a token is multiplied with, or a row of which it is. */
  readonly isMatrix: boolean;
  /** 1: all of it; of experts those that it is routed to; of an embedding one row. */
  readonly share: number;
}

/**
 * What a decoded token reads of each tensor, which are under GGUF's names; those that the layers do
 * not name are not read.
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
  // The tensors of checkpoints have names of their own.
  return Array.from(tensors, ([name, tensor]) => ({
    tensor,
    isMatrix: tensor.shape.length >= 2 && !convolutions.has(name),
    share: shares.get(name) ?? 0,
  }));
}
