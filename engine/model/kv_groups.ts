/** Groups layers by the keys and values that they cache: of all positions, or of a window. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import type { ModelConfig } from "./config.ts";
import { attentionsOf } from "./mixers.ts";

/** Attention layers that cache the same positions, and so share one block table per sequence. */
export interface KvGroup {
  /** Number of positions that a token sees in these layers; if absent, all of them. */
  readonly window?: number;
  /** Indices of the layers, in order. */
  readonly layers: readonly number[];
}

/** Returns the groups of a model, the one with the largest window first. */
export function kvGroups({ layers }: Pick<ModelConfig, "layers">): KvGroup[] {
  const byWindow = new Map<number, number[]>();
  for (const [layer, { mixer }] of layers.entries()) {
    if (mixer?.kind !== "attention") continue;
    const { window = Infinity } = mixer;
    byWindow.set(window, [...byWindow.get(window) ?? [], layer]);
  }
  return [...byWindow].sort(([a], [b]) => a < b ? 1 : -1).map(([window, layers]) =>
    window === Infinity ? { layers } : { window, layers }
  );
}

/**
 * Returns the bytes of a block of BLOCK_TOKENS positions, for all layers of a group together.
 *
 * @param kvBytes bytes of one element
 */
export function kvBlockBytes(config: ModelConfig, group: KvGroup, kvBytes: number): number {
  const layers = attentionsOf(group.layers.map((layer) => config.layers[layer]!));
  return layers.reduce(
    (sum, { kvHeads, headDim }) => sum + 2 * BLOCK_TOKENS * kvHeads * headDim * kvBytes,
    0,
  );
}

/**
 * Returns the most blocks of a group that sequences with `tokens` tokens in total occupy at a time,
 * if `sequences` of them run and at most `entering` tokens are computed in a step.
 */
export function kvBlocksHeld(
  { window = Infinity }: Pick<KvGroup, "window">,
  { tokens, sequences, entering }: {
    readonly tokens: number;
    readonly sequences: number;
    readonly entering: number;
  },
): number {
  // The window and the new tokens may each start and end in the middle of a block.
  const windows = sequences * (Math.ceil((window - 1) / BLOCK_TOKENS) + 2);
  return Math.min(Math.ceil(tokens / BLOCK_TOKENS), windows + Math.ceil(entering / BLOCK_TOKENS));
}
