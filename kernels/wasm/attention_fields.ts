/**
 * Causal attention over the paged cache. The positions of a sequence are divided, starting at 0,
 * into splits of SPLIT_KEYS positions. The partial results of the splits ("parts") are merged in
 * order, so the result does not depend on how the splits are distributed to threads. For each head,
 * a part consists of the largest score, Σ e^(score − largest) and Σ e^(score − largest) · value
 * [headDim']. With a float16 cache, the first sum is multiplied by HALF_FACTOR (see
 * attention_tile.ts).
 */

import { BLOCK_TOKENS } from "../sizes.ts";
import { type Code, i32, op } from "./assembler.ts";
import { fields } from "./operation.ts";
import { OUTPUT_ADDRESSES, OUTPUT_INTEGERS } from "./prepare.ts";

export const SPLIT_KEYS = 256;

/** Maximum number of query heads that share each load of a key. */
export const HEADS = 4;

/** Bytes at the start of a head's part, before its values. */
export const PART_HEAD = 16;

/** Bytes of one head's part. */
export function partBytes(cachedDim: number): number {
  return PART_HEAD + 4 * cachedDim;
}

/** Bytes of the scores of one query head. */
export const SCORES_BYTES = 4 * (SPLIT_KEYS + BLOCK_TOKENS);

/** Bytes of scratch memory per thread: scores, and the parts of the query heads of one KV head. */
export function attentionScratch(group: number, cachedDim: number): number {
  return HEADS * SCORES_BYTES + group * partBytes(cachedDim);
}

/**
 * A unit is one KV head of a token or, if `splits` is more than 1, one split of it. `group`: query
 * heads per KV head. `window`: number of positions that a token attends to, up to its own; 0: all.
 * `parts`: [tokens, splits, heads], where the first split is the first one that the token attends
 * to. `scratch`: `thread` bytes for each thread. Queries are already scaled.
 */
export const ATTENTION = fields(
  [
    "kvHeads",
    "group",
    "headDim",
    "cachedDim",
    "splits",
    "window",
    "qStride",
    "headBytes",
    "partBytes",
  ],
  ["q", "keys", "values", "tokens", "tables", "parts", "scratch", "thread"],
);

/**
 * Merges a token's parts, divides by the sum and multiplies by `factor`. If `gate` is not null, it
 * also multiplies by sigmoid(`gate`) ([tokens, heads · headDim], with `gateStride` bytes per
 * token). For the other fields see prepare.ts.
 */
export const MERGE = fields(
  [...OUTPUT_INTEGERS, "heads", "headDim", "partBytes", "splits", "window", "gateStride"],
  [...OUTPUT_ADDRESSES, "parts", "tokens", "gate"],
  ["factor"],
);

/** Returns the first position that a token attends to. */
export function firstSeen(position: Code, window: Code): Code {
  const lost = op("i32.sub", op("i32.add", position, i32(1)), window);
  const some = op("i32.and", op("i32.ne", window, i32(0)), op("i32.gt_s", lost, i32(0)));
  return [...lost, ...i32(0), ...some, ...op("select")];
}

const SPLIT_BITS = Math.log2(SPLIT_KEYS);
export const splitOf = (position: Code): Code => op("i32.shr_u", position, i32(SPLIT_BITS));
