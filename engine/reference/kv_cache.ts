/** The paged KV cache in memory: blocks of BLOCK_TOKENS positions, in any order. */

import type { KvType } from "../../kernels/sizes.ts";
import type { AttentionSpec, ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { BLOCK_TOKENS, type BlockCopy } from "../run/runner.ts";

/** One layer's keys or values: [blocks, BLOCK_TOKENS, kvHeads, headDim]. */
export type KvStore = Float32Array | Float16Array;

/** The keys and values of one layer. */
export interface LayerCache {
  readonly keys: KvStore;
  readonly values: KvStore;
  /** kvHeads · headDim. */
  readonly kvDim: number;
  /** Index of the sequence's block table that lists the blocks of this layer. */
  readonly group: number;
}

export class KvCache {
  /** Indexed by layer; undefined for layers without attention. */
  readonly layers: readonly (LayerCache | undefined)[];

  /** @param blocks number of blocks for each group of layers */
  constructor(config: ModelConfig, blocks: readonly number[], type: KvType) {
    const layers: LayerCache[] = [];
    for (const [group, own] of kvGroups(config).entries()) {
      for (const layer of own.layers) {
        const { kvHeads, headDim } = config.layers[layer]!.mixer as AttentionSpec;
        const kvDim = kvHeads * headDim;
        const size = blocks[group]! * BLOCK_TOKENS * kvDim;
        // The system allocates zeroed pages when they are first written, so unused blocks cost
        // nothing.
        const store = () => type === "f16" ? new Float16Array(size) : new Float32Array(size);
        layers[layer] = { keys: store(), values: store(), kvDim, group };
      }
    }
    this.layers = layers;
  }

  /**
   * Stores the key and the value of one token, which start at `from`.
   *
   * @param row index of the row in the layer's cache, where a row has kvDim elements
   * @param entering.keys [tokens, kvDim]
   * @param entering.values [tokens, kvDim]
   */
  write(
    layer: number,
    row: number,
    { keys, values, from }: { keys: Float64Array; values: Float64Array; from: number },
  ): void {
    const cache = this.layers[layer]!;
    const at = row * cache.kvDim;
    cache.keys.set(keys.subarray(from, from + cache.kvDim), at);
    cache.values.set(values.subarray(from, from + cache.kvDim), at);
  }

  copyBlock({ group, from, to }: BlockCopy): void {
    for (const cache of this.layers) {
      if (cache?.group !== group) continue;
      const { keys, values, kvDim } = cache;
      const size = BLOCK_TOKENS * kvDim;
      for (const store of [keys, values]) {
        store.copyWithin(to * size, from * size, (from + 1) * size);
      }
    }
  }
}

/** Returns the rows of a cache that contain the first `positions` positions of a sequence. */
export function rowsOf(blockTable: readonly number[], positions: number): Int32Array {
  const rows = new Int32Array(positions);
  for (let p = 0; p < positions; p++) {
    rows[p] = blockTable[Math.floor(p / BLOCK_TOKENS)]! * BLOCK_TOKENS + p % BLOCK_TOKENS;
  }
  return rows;
}
