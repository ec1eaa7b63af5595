/**
 * The paged KV cache on the device: two buffers per layer, which can grow, and whose blocks can be
 * copied.
 */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { KV_BYTES, type KvType } from "../../kernels/sizes.ts";
import type { KvTable } from "../../kernels/specs.ts";
import type { AttentionSpec, ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import type { BlockCopy } from "../run/runner.ts";
import { DeviceError } from "../errors.ts";
import { createBuffer, destroyBuffer, largestBuffer, withMemoryCheck } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/**
 * A layer's keys and values, [blocks, kvHeads, 16, headDim]. `KvCache.grow` replaces the buffers by
 * larger ones.
 */
export interface LayerCache {
  keys: GPUBuffer;
  values: GPUBuffer;
  /** Which of a sequence's block tables this layer uses. */
  readonly table: KvTable;
}

type Buffers = Pick<LayerCache, "keys" | "values">;

interface Layer extends LayerCache {
  /** Bytes of a block in one of the two buffers. */
  readonly blockBytes: number;
}

/** The KV caches of all layers; the layers of a group share block numbers. */
export class KvCache {
  /** By layer; undefined for layers without attention. */
  readonly layers: readonly (LayerCache | undefined)[];
  readonly #groups: readonly (readonly Layer[])[];
  readonly #blocks: number[];
  #staging: GPUBuffer | undefined;

  /** @param options.blocks initial number of blocks for each group of layers */
  constructor(
    readonly gpu: Gpu,
    config: ModelConfig,
    { kv, blocks }: { readonly kv: KvType; readonly blocks: readonly number[] },
  ) {
    const layers: Layer[] = [];
    const groups = kvGroups(config);
    this.#groups = groups.map((group, index) =>
      group.layers.map((layer) => {
        const { kvHeads, headDim } = config.layers[layer]!.mixer as AttentionSpec;
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

  /** Number of blocks for each group of layers. */
  get blocks(): readonly number[] {
    return this.#blocks;
  }

  /** Copies blocks within every layer of their group. */
  copy(copies: readonly BlockCopy[]): void {
    const encoder = this.gpu.device.createCommandEncoder({ label: "copy blocks" });
    // WebGPU cannot copy within a buffer, so each block goes through a staging buffer.
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
   * Grows the layers of `group` to `blocks` blocks in total, or to as many as the adapter can bind
   * and has memory for. Returns the new number of blocks.
   *
   * @throws {Error} if the device fails for another reason than lack of memory.
   */
  async grow(group: number, blocks: number): Promise<number> {
    const layers = this.#groups[group]!;
    const most = Math.max(...layers.map(({ blockBytes }) => blockBytes));
    const had = this.#blocks[group]!;
    let wanted = Math.min(blocks, Math.floor(largestBuffer(this.gpu) / most));
    // If there is no room, retry with half the growth.
    for (; wanted > had; wanted = had + Math.floor((wanted - had) / 2)) {
      const grown = await this.#makeLarger(layers, wanted);
      if (!grown) continue;
      this.#replace(layers, grown);
      return this.#blocks[group] = wanted;
    }
    return had;
  }

  /**
   * Allocates buffers of `blocks` blocks for these layers; returns undefined if there is no room.
   */
  async #makeLarger(layers: readonly Layer[], blocks: number): Promise<Buffers[] | undefined> {
    const { gpu } = this;
    const made: GPUBuffer[] = [];
    const make = ({ label }: GPUBuffer, bytes: number) => {
      made.push(createBuffer(gpu, { label, bytes, purpose: "kv" }));
      return made.at(-1)!;
    };
    try {
      return await withMemoryCheck(
        gpu,
        `a KV cache of ${blocks} blocks`,
        () =>
          layers.map(({ keys, values, blockBytes }) => ({
            keys: make(keys, blocks * blockBytes),
            values: make(values, blocks * blockBytes),
          })),
      );
    } catch (error) {
      for (const buffer of made) destroyBuffer(gpu, buffer, "kv");
      if (error instanceof DeviceError && error.kind === "out-of-memory") return undefined;
      throw error;
    }
  }

  /** Replaces the buffers of each layer by larger ones, and copies their contents. */
  #replace(layers: readonly Layer[], grown: readonly Buffers[]): void {
    const { device } = this.gpu;
    const encoder = device.createCommandEncoder({ label: "grow the cache" });
    const old = layers.map(({ keys, values }) => ({ keys, values }));
    for (const [i, { keys, values }] of old.entries()) {
      encoder.copyBufferToBuffer(keys, 0, grown[i]!.keys, 0, keys.size);
      encoder.copyBufferToBuffer(values, 0, grown[i]!.values, 0, values.size);
      Object.assign(layers[i]!, grown[i]);
    }
    device.queue.submit([encoder.finish()]);
    for (const { keys, values } of old) {
      destroyBuffer(this.gpu, keys, "kv");
      destroyBuffer(this.gpu, values, "kv");
    }
  }
}
