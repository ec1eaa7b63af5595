/** How large the KV cache may grow. */

import { KV_BYTES, type KvType, MOST_BATCH_TOKENS } from "../kernels/sizes.ts";
import { RequestError } from "./errors.ts";
import type { ModelConfig } from "./model/config.ts";
import { kvBlockBytes, kvBlocksHeld, kvGroups } from "./model/kv_groups.ts";
import { BLOCK_TOKENS } from "./run/runner.ts";
import { plural } from "./plural.ts";

/** What the cache is for, and what it may take; see `ModelOptions`. */
export interface KvBudgetOptions {
  readonly kv: KvType;
  readonly maxSequences: number;
  readonly kvTokens?: number;
  readonly kvMemory?: number;
}

/**
 * Blocks that the KV cache may have, by group of layers: those with a window have what all running
 * sequences can hold, and the rest of the memory is for those that keep everything.
 */
export function kvBudget(
  config: ModelConfig,
  { kv, maxSequences, kvTokens, kvMemory = Infinity }: KvBudgetOptions,
): number[] {
  const groups = kvGroups(config);
  const bytes = groups.map((group) => kvBlockBytes(config, group, KV_BYTES[kv]));
  const tokens = kvTokens ?? config.contextLength * maxSequences;
  const held = groups.map((group) =>
    kvBlocksHeld(group, { tokens, sequences: maxSequences, entering: MOST_BATCH_TOKENS })
  );
  // Of `blocks` blocks of the first group, the others need no more than as many.
  const total = (blocks: number) =>
    bytes.reduce((sum, size, group) => sum + size * Math.min(held[group]!, blocks), 0);
  let blocks = held[0]!;
  if (!(total(blocks) <= kvMemory)) {
    let least = 0;
    while (blocks - least > 1) {
      const middle = Math.floor((least + blocks) / 2);
      if (total(middle) <= kvMemory) least = middle;
      else blocks = middle;
    }
    blocks = least;
  }
  if (blocks < 1) {
    throw new RequestError(
      `Cannot fit a KV cache into ${kvMemory} ${
        plural(kvMemory, "byte")
      }: a block of ${BLOCK_TOKENS} tokens needs ${total(1)}`,
    );
  }
  return held.map((most) => Math.min(most, blocks));
}
