/** Causal attention of one token over the paged KV cache. */

import type { AttentionSpec } from "../model/config.ts";
import type { LayerCache } from "./kv_cache.ts";

/** The inputs and outputs of one token's attention. */
export interface Attending {
  /** [tokens, heads, headDim]; the token's queries start at `from`. */
  readonly queries: Float64Array;
  readonly from: number;
  readonly cache: LayerCache;
  /** [n]: the rows of the cache that contain positions 0 … n − 1; the token's own is last. */
  readonly rows: Int32Array;
  /** [n] or more, scratch. */
  readonly scores: Float64Array;
  /** [tokens, heads, headDim]; the token's output starts at `from`. */
  readonly out: Float64Array;
}

/**
 * Computes softmax(scale · q · kᵀ) · v for each head of one token, over the positions that it
 * attends to. Query head h reads KV head floor(h · kvHeads / heads). Pauses after every head.
 */
export function* attend(spec: AttentionSpec, token: Attending): Generator<void, void> {
  for (let head = 0; head < spec.heads; head++) {
    attendHead(spec, head, token);
    yield;
  }
}

// Separate from the generator, in which these loops take 6 % longer.
function attendHead(
  { heads, kvHeads, headDim, scale, window = Infinity }: AttentionSpec,
  head: number,
  { queries, from, cache: { keys, values, kvDim }, rows, scores, out }: Attending,
): void {
  const positions = rows.length;
  const first = Math.max(0, positions - window);
  const at = from + head * headDim;
  const kvAt = Math.floor(head * kvHeads / heads) * headDim;
  let max = -Infinity;
  for (let p = first; p < positions; p++) {
    const k = rows[p]! * kvDim + kvAt;
    let even = 0;
    let odd = 0;
    for (let i = 0; i < headDim; i += 2) {
      even += queries[at + i]! * keys[k + i]!;
      odd += queries[at + i + 1]! * keys[k + i + 1]!;
    }
    const score = (even + odd) * scale;
    scores[p] = score;
    if (score > max) max = score;
  }
  let total = 0;
  for (let p = first; p < positions; p++) total += scores[p] = Math.exp(scores[p]! - max);
  for (let i = 0; i < headDim; i++) out[at + i] = 0;
  for (let p = first; p < positions; p++) {
    const v = rows[p]! * kvDim + kvAt;
    const weight = scores[p]! / total;
    for (let i = 0; i < headDim; i++) out[at + i]! += weight * values[v + i]!;
  }
}
