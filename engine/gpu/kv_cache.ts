/** The paged KV cache on the device: two buffers a layer, which grow and whose blocks are copied. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { KV_BYTES, type KvType } from "../../kernels/specs.ts";
import { createBuffer, destroyBuffer, largestBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { ModelConfig } from "../model/config.ts";

/** A layer's keys and values, [blocks, kvHeads, 16, headDim]; larger ones may take their place. */
export interface LayerCache {
  keys: GPUBuffer;
  values: GPUBuffer;
}

/** Bytes of one block in one of the two buffers of one layer. */
export function blockBytes({ kvHeads, headDim }: ModelConfig, kv: KvType): number {
  return BLOCK_TOKENS * kvHeads * headDim * KV_BYTES[kv];
}

/** The caches of all layers, which have the same blocks. */
export class KvCache {
  readonly layers: readonly LayerCache[];
  readonly #blockBytes: number;
  #blocks: number;
  #between: GPUBuffer | undefined;

  constructor(readonly gpu: Gpu, config: ModelConfig, kv: KvType, blocks: number) {
    this.#blockBytes = blockBytes(config, kv);
    this.#blocks = blocks;
    const bytes = blocks * this.#blockBytes;
    this.layers = Array.from({ length: config.layers }, (_, layer) => ({
      keys: createBuffer(gpu, `keys ${layer}`, bytes, "kv"),
      values: createBuffer(gpu, `values ${layer}`, bytes, "kv"),
    }));
  }

  get blocks(): number {
    return this.#blocks;
  }

  /** Copies blocks of every layer: pairs of [from, to]. */
  copy(pairs: readonly (readonly [number, number])[]): void {
    const bytes = this.#blockBytes;
    // A buffer cannot be copied within itself, so a block goes by another.
    const between = this.#between ??= createBuffer(this.gpu, "copied block", bytes, "scratch");
    const encoder = this.gpu.device.createCommandEncoder({ label: "copy blocks" });
    for (const { keys, values } of this.layers) {
      for (const buffer of [keys, values]) {
        for (const [from, to] of pairs) {
          encoder.copyBufferToBuffer(buffer, from * bytes, between, 0, bytes);
          encoder.copyBufferToBuffer(between, 0, buffer, to * bytes, bytes);
        }
      }
    }
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  /** Makes room for so many blocks in all, as far as the adapter binds them; returns how many. */
  grow(blocks: number): number {
    const { gpu } = this;
    const wanted = Math.min(blocks, Math.floor(largestBuffer(gpu) / this.#blockBytes));
    if (wanted <= this.#blocks) return this.#blocks;
    // A buffer at a time, so that old and new exist together for one alone.
    for (const layer of this.layers) {
      for (const name of ["keys", "values"] as const) {
        const old = layer[name];
        const grown = createBuffer(gpu, old.label, wanted * this.#blockBytes, "kv");
        const encoder = gpu.device.createCommandEncoder({ label: "grow the cache" });
        encoder.copyBufferToBuffer(old, 0, grown, 0, old.size);
        gpu.device.queue.submit([encoder.finish()]);
        destroyBuffer(gpu, old, "kv");
        layer[name] = grown;
      }
    }
    return this.#blocks = wanted;
  }
}
