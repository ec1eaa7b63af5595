/** The paged KV cache on the device: two buffers a layer, which grow and whose blocks are copied. */

import { BLOCK_TOKENS } from "../../kernels/sizes.ts";
import { KV_BYTES, type KvType } from "../../kernels/sizes.ts";
import type { KvTable } from "../../kernels/specs.ts";
import type { AttentionSpec, ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import type { BlockCopy } from "../run/runner.ts";
import { DeviceError } from "../errors.ts";
import { createBuffer, destroyBuffer, largestBuffer, withMemoryCheck } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** A layer's keys and values, [blocks, kvHeads, 16, headDim]; larger ones may take their place. */
export interface LayerCache {
  keys: GPUBuffer;
  values: GPUBuffer;
  /** Which table of a sequence has its blocks. */
  readonly table: KvTable;
}

type Buffers = Pick<LayerCache, "keys" | "values">;

interface Layer extends LayerCache {
  /** Of a block in one of the two buffers. */
  readonly blockBytes: number;
}

/** The caches of all layers; those of one group have the same blocks. */
export class KvCache {
  /** By layer; of those without attention, none. */
  readonly layers: readonly (LayerCache | undefined)[];
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
   * Makes room for so many blocks in all in the layers of `group`, or for as many as the adapter binds
   * and has memory for; returns how many there are.
   *
   * @throws {Error} if the device failed in another way than for want of memory.
   */
  async grow(group: number, blocks: number): Promise<number> {
    const layers = this.#groups[group]!;
    const most = Math.max(...layers.map(({ blockBytes }) => blockBytes));
    const had = this.#blocks[group]!;
    let wanted = Math.min(blocks, Math.floor(largestBuffer(this.gpu) / most));
    // Of what there is no room for, half is tried.
    for (; wanted > had; wanted = had + Math.floor((wanted - had) / 2)) {
      const grown = await this.#makeLarger(layers, wanted);
      if (!grown) continue;
      this.#replace(layers, grown);
      return this.#blocks[group] = wanted;
    }
    return had;
  }

  /** Keys and values of these layers for so many blocks; undefined if there is no room for them. */
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

  /** Has larger buffers, one pair a layer, take the place of those there are. */
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
