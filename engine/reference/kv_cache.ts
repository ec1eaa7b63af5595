/** The paged KV cache in memory: blocks of BLOCK_TOKENS positions, in any order. */

import type { KvType } from "../../kernels/specs.ts";
import { BLOCK_TOKENS } from "../run/runner.ts";

/** One layer's keys or values: [blocks, BLOCK_TOKENS, kvHeads, headDim]. */
export type KvStore = Float32Array | Float16Array;

export class KvCache {
  readonly keys: readonly KvStore[];
  readonly values: readonly KvStore[];

  /** @param kvDim kvHeads · headDim */
  constructor(layers: number, blocks: number, readonly kvDim: number, type: KvType) {
    const size = blocks * BLOCK_TOKENS * kvDim;
    // The system hands out zeroed pages as they are first written, so blocks not used cost nothing.
    const store = () => type === "f16" ? new Float16Array(size) : new Float32Array(size);
    this.keys = Array.from({ length: layers }, store);
    this.values = Array.from({ length: layers }, store);
  }

  /** The rows, of kvDim elements each, that hold the first `positions` positions of a sequence. */
  rows(blockTable: readonly number[], positions: number): Int32Array {
    const rows = new Int32Array(positions);
    for (let p = 0; p < positions; p++) {
      rows[p] = blockTable[Math.floor(p / BLOCK_TOKENS)]! * BLOCK_TOKENS + p % BLOCK_TOKENS;
    }
    return rows;
  }

  /**
   * Stores the key and the value that start at `from`.
   *
   * @param key [tokens, kvDim]
   * @param value [tokens, kvDim]
   */
  write(layer: number, row: number, key: Float64Array, value: Float64Array, from: number): void {
    const at = row * this.kvDim;
    this.keys[layer]!.set(key.subarray(from, from + this.kvDim), at);
    this.values[layer]!.set(value.subarray(from, from + this.kvDim), at);
  }

  copyBlock(from: number, to: number): void {
    const size = BLOCK_TOKENS * this.kvDim;
    for (const store of [...this.keys, ...this.values]) {
      store.copyWithin(to * size, from * size, (from + 1) * size);
    }
  }
}
