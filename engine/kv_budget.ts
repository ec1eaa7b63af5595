/** Computes how large the KV cache may grow. */

import { KV_BYTES, type KvType, MOST_BATCH_TOKENS } from "../kernels/sizes.ts";
import { RequestError } from "./errors.ts";
import type { ModelConfig } from "./model/config.ts";
import { kvBlockBytes, kvBlocksHeld, kvGroups } from "./model/kv_groups.ts";
import { BLOCK_TOKENS } from "./run/runner.ts";
import { plural } from "./plural.ts";

/** What the cache must serve and how much memory it may use; see `ModelOptions`. */
export interface KvBudgetOptions {
  readonly kv: KvType;
  readonly maxSequences: number;
  readonly kvTokens?: number;
  readonly kvMemory?: number;
}

/**
 * Returns the maximum number of KV cache blocks for each group of layers. A group with a window
 * gets at most as many blocks as all running sequences can hold in it; the group without a window
 * gets the rest of the memory.
 *
 * @throws {RequestError} if `kvMemory` has no room for a single block.
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
  // With `blocks` blocks in the first group, no other group needs more than `blocks`.
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
      }: a block of ${BLOCK_TOKENS} tokens needs ${total(1)} bytes`,
    );
  }
  return held.map((most) => Math.min(most, blocks));
}
