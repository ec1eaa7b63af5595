/** Causal attention of one token over the paged KV cache. */

import type { KvStore } from "./kv_cache.ts";

/** See ModelConfig. */
export interface HeadShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * softmax(q · kᵀ / √headDim) · v for each head of one token; query head h reads KV head
 * floor(h · kvHeads / heads). Pauses after every head.
 *
 * @param q [tokens, heads, headDim], the token's at `from`
 * @param rows [n]: the rows of `keys` and `values` that hold positions 0 … n − 1, the token's own last
 * @param scores [n] or more, scratch
 * @param out [tokens, heads, headDim], the token's at `from`
 */
export function* attend(
  shape: HeadShape,
  q: Float64Array,
  from: number,
  keys: KvStore,
  values: KvStore,
  rows: Int32Array,
  scores: Float64Array,
  out: Float64Array,
): Generator<void, void> {
  for (let head = 0; head < shape.heads; head++) {
    attendHead(shape, head, q, from, keys, values, rows, scores, out);
    yield;
  }
}

// Apart from the generator, in which these loops take 6 % longer.
function attendHead(
  { heads, kvHeads, headDim }: HeadShape,
  head: number,
  q: Float64Array,
  from: number,
  keys: KvStore,
  values: KvStore,
  rows: Int32Array,
  scores: Float64Array,
  out: Float64Array,
): void {
  const scale = 1 / Math.sqrt(headDim);
  const rowSize = kvHeads * headDim;
  const positions = rows.length;
  const at = from + head * headDim;
  const kvAt = Math.floor(head * kvHeads / heads) * headDim;
  let max = -Infinity;
  for (let p = 0; p < positions; p++) {
    const k = rows[p]! * rowSize + kvAt;
    let even = 0;
    let odd = 0;
    for (let i = 0; i < headDim; i += 2) {
      even += q[at + i]! * keys[k + i]!;
      odd += q[at + i + 1]! * keys[k + i + 1]!;
    }
    const score = (even + odd) * scale;
    scores[p] = score;
    if (score > max) max = score;
  }
  let total = 0;
  for (let p = 0; p < positions; p++) total += scores[p] = Math.exp(scores[p]! - max);
  for (let i = 0; i < headDim; i++) out[at + i] = 0;
  for (let p = 0; p < positions; p++) {
    const v = rows[p]! * rowSize + kvAt;
    const weight = scores[p]! / total;
    for (let i = 0; i < headDim; i++) out[at + i]! += weight * values[v + i]!;
  }
}
