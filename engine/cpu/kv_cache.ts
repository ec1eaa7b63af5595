/**
 * The paged KV cache in the shared memory, in the layout that the kernels read
 * (kernels/wasm/rope.ts).
 */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { CACHE_BYTES, cachedDim, type CacheType } from "../../kernels/wasm/rope.ts";
import type { ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import type { BlockCopy } from "../run/runner.ts";
import type { Layout, SharedMemory } from "./memory.ts";

/** One layer's keys and values: [blocks, kvHeads, headBytes] each. */
export interface LayerCache {
  readonly keys: number;
  readonly values: number;
  /** Bytes of one head of a block. */
  readonly headBytes: number;
  readonly blockBytes: number;
  /** Index of the sequence's block table that lists the blocks of this layer. */
  readonly group: number;
}

export class KvCache {
  /** Indexed by layer; undefined for layers without attention. */
  readonly layers: readonly (LayerCache | undefined)[];
  readonly type: CacheType;

  /** @param blocks number of blocks for each group of layers */
  constructor(
    layout: Layout,
    config: ModelConfig,
    { blocks, type }: { readonly blocks: readonly number[]; readonly type: CacheType },
  ) {
    this.type = type;
    const groups = kvGroups(config);
    this.layers = config.layers.map(({ mixer }, layer) => {
      if (mixer?.kind !== "attention") return undefined;
      const group = groups.findIndex(({ layers }) => layers.includes(layer));
      const headBytes = cachedDim(mixer.headDim) * BLOCK_TOKENS * CACHE_BYTES[type];
      const blockBytes = headBytes * mixer.kvHeads;
      // Pages are first written when their blocks are, so unused blocks cost nothing.
      const store = () => layout.allocate(blocks[group]! * blockBytes);
      return { keys: store(), values: store(), headBytes, blockBytes, group };
    });
  }

  copyBlock(memory: SharedMemory, { group, from, to }: BlockCopy): void {
    for (const layer of this.layers) {
      if (layer?.group !== group) continue;
      for (const base of [layer.keys, layer.values]) {
        const start = base + from * layer.blockBytes;
        memory.bytes.copyWithin(base + to * layer.blockBytes, start, start + layer.blockBytes);
      }
    }
  }
}
