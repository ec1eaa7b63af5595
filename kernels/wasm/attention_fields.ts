/**
 * Causal attention over the paged cache. A sequence's positions are split into runs of SPLIT_KEYS,
 * counted from 0, whose parts are merged in order, so that the result does not depend on how the
 * splits are shared out to threads. A part is, for each head, the largest score, Σ e^(score − it)
 * (times HALF_FACTOR for a cache of halves, see attention_tile.ts), and Σ e^(…) · value [headDim'].
 */

import { BLOCK_TOKENS } from "../sizes.ts";
import { type Code, i32, op } from "./assembler.ts";
import { fields } from "./operation.ts";
import { OUTPUT_ADDRESSES, OUTPUT_INTEGERS } from "./prepare.ts";

export const SPLIT_KEYS = 256;

/** Query heads that share each load of a key. */
export const HEADS = 4;

/** Bytes of a head's part before its values. */
export const PART_HEAD = 16;

/** Bytes of the part of one head. */
export function partBytes(cachedDim: number): number {
  return PART_HEAD + 4 * cachedDim;
}

/** Bytes of the scores that one thread works with. */
export const SCORES_BYTES = 4 * (SPLIT_KEYS + BLOCK_TOKENS);

/** Bytes that one thread works in: scores, and the parts of the query heads of one KV head. */
export function attentionScratch(group: number, cachedDim: number): number {
  return HEADS * SCORES_BYTES + group * partBytes(cachedDim);
}

/**
 * A unit is a KV head of a token, or where `splits` is more than 1 one split of that. `group`: query
 * heads of a KV head. `window`: positions that a token sees, its own the last; 0: all. `parts`:
 * [tokens, splits, heads] with a token's first split as its first. `scratch` has `thread` bytes for
 * each thread. Queries are scaled.
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
 * Joins a token's parts, divides by the sum, and multiplies by `factor`, and by sigmoid of `gate`
 * [tokens, heads · headDim], a token every `gateStride` bytes, unless that is null; see prepare.ts.
 */
export const MERGE = fields(
  [...OUTPUT_INTEGERS, "heads", "headDim", "partBytes", "splits", "window", "gateStride"],
  [...OUTPUT_ADDRESSES, "parts", "tokens", "gate"],
  ["factor"],
);

/** The first position that a token sees. */
export function firstSeen(position: Code, window: Code): Code {
  const lost = op("i32.sub", op("i32.add", position, i32(1)), window);
  const some = op("i32.and", op("i32.ne", window, i32(0)), op("i32.gt_s", lost, i32(0)));
  return [...lost, ...i32(0), ...some, ...op("select")];
}

const SPLIT_BITS = Math.log2(SPLIT_KEYS);
export const splitOf = (position: Code): Code => op("i32.shr_u", position, i32(SPLIT_BITS));
