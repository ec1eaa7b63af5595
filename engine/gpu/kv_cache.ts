/** The paged KV cache on the device: two buffers a layer, which grow and whose blocks are copied. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { KV_BYTES, type KvTable, type KvType } from "../../kernels/specs.ts";
import type { ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import type { BlockCopy } from "../run/runner.ts";
import { createBuffer, destroyBuffer, largestBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** A layer's keys and values, [blocks, kvHeads, 16, headDim]; larger ones may take their place. */
export interface LayerCache {
  keys: GPUBuffer;
  values: GPUBuffer;
  /** Which table of a sequence has its blocks. */
  readonly table: KvTable;
}

interface Layer extends LayerCache {
  /** Of a block in one of the two buffers. */
  readonly blockBytes: number;
}

/** The caches of all layers; those of one group have the same blocks. */
export class KvCache {
  /** By layer. */
  readonly layers: readonly LayerCache[];
  readonly #groups: readonly (readonly Layer[])[];
  readonly #blocks: number[];
  #staging: GPUBuffer | undefined;

  /** @param options.blocks how many each group of layers has at first */
  constructor(
    readonly gpu: Gpu,
    config: ModelConfig,
    { kv, blocks }: { readonly kv: KvType; readonly blocks: readonly number[] },
  ) {
    const layers: Layer[] = [];
    const groups = kvGroups(config);
    this.#groups = groups.map((group, index) =>
      group.layers.map((layer) => {
        const { kvHeads, headDim } = config.layers[layer]!.mixer;
        const blockBytes = BLOCK_TOKENS * kvHeads * headDim * KV_BYTES[kv];
        const bytes = blocks[index]! * blockBytes;
        return layers[layer] = {
          keys: createBuffer(gpu, { label: `keys ${layer}`, bytes, purpose: "kv" }),
          values: createBuffer(gpu, { label: `values ${layer}`, bytes, purpose: "kv" }),
          table: { group: index, groups: groups.length },
          blockBytes,
        };
      })
    );
    this.layers = layers;
    this.#blocks = [...blocks];
  }

  /** Blocks of each group of layers. */
  get blocks(): readonly number[] {
    return this.#blocks;
  }

  /** Copies blocks within every layer of their group. */
  copy(copies: readonly BlockCopy[]): void {
    const encoder = this.gpu.device.createCommandEncoder({ label: "copy blocks" });
    // A buffer cannot be copied within itself, so a block goes through another.
    const staging = this.#staging ??= createBuffer(this.gpu, {
      label: "copied block",
      bytes: Math.max(...this.#groups.flat().map(({ blockBytes }) => blockBytes)),
      purpose: "scratch",
    });
    for (const { group, from, to } of copies) {
      for (const { keys, values, blockBytes: bytes } of this.#groups[group]!) {
        for (const buffer of [keys, values]) {
          encoder.copyBufferToBuffer(buffer, from * bytes, staging, 0, bytes);
          encoder.copyBufferToBuffer(staging, 0, buffer, to * bytes, bytes);
        }
      }
    }
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  /**
   * Makes room for so many blocks in all in the layers of `group`, as far as the adapter binds them;
   * returns how many there are.
   */
  grow(group: number, blocks: number): number {
    const { gpu } = this;
    const layers = this.#groups[group]!;
    const most = Math.max(...layers.map(({ blockBytes }) => blockBytes));
    const wanted = Math.min(blocks, Math.floor(largestBuffer(gpu) / most));
    if (wanted <= this.#blocks[group]!) return this.#blocks[group]!;
    // A buffer at a time, so that old and new exist together for one alone.
    for (const layer of layers) {
      for (const name of ["keys", "values"] as const) {
        const old = layer[name];
        const grown = createBuffer(gpu, {
          label: old.label,
          bytes: wanted * layer.blockBytes,
          purpose: "kv",
        });
        const encoder = gpu.device.createCommandEncoder({ label: "grow the cache" });
        encoder.copyBufferToBuffer(old, 0, grown, 0, old.size);
        gpu.device.queue.submit([encoder.finish()]);
        destroyBuffer(gpu, old, "kv");
        layer[name] = grown;
      }
    }
    return this.#blocks[group] = wanted;
  }
}
