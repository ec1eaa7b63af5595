/** How layers keep keys and values: for all positions of a sequence, or for those within a window. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import type { ModelConfig } from "./config.ts";
import { attentionsOf } from "./mixers.ts";

/** Layers of attention that keep the same positions, and so share a table of blocks for each sequence. */
export interface KvGroup {
  /** Positions that their tokens see; absent: all of them. */
  readonly window?: number;
  /** Their numbers, in order. */
  readonly layers: readonly number[];
}

/** The groups of a model, the one that keeps the most first. */
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

/** Bytes of a block of BLOCK_TOKENS positions in all layers of a group; `kvBytes` an element. */
export function kvBlockBytes(config: ModelConfig, group: KvGroup, kvBytes: number): number {
  const layers = attentionsOf(group.layers.map((layer) => config.layers[layer]!));
  return layers.reduce(
    (sum, { kvHeads, headDim }) => sum + 2 * BLOCK_TOKENS * kvHeads * headDim * kvBytes,
    0,
  );
}

/**
 * Blocks of a group that sequences with `tokens` tokens in all can hold at one time, `sequences` of
 * them running and `entering` tokens entering a step.
 */
export function kvBlocksHeld(
  { window = Infinity }: Pick<KvGroup, "window">,
  { tokens, sequences, entering }: {
    readonly tokens: number;
    readonly sequences: number;
    readonly entering: number;
  },
): number {
  // A window may begin and end within a block, and so may what enters.
  const windows = sequences * (Math.ceil((window - 1) / BLOCK_TOKENS) + 2);
  return Math.min(Math.ceil(tokens / BLOCK_TOKENS), windows + Math.ceil(entering / BLOCK_TOKENS));
}
