/**
 * Reads results back. Awaiting mapAsync costs 10 ms and more in Deno, which polls the device and
 * sleeps in between. But getMappedRange right after an unawaited mapAsync blocks only until all
 * work submitted before is done, whether or not it is read. This depends on the implementation, so
 * it is tried once on a scratch buffer; if it fails, every read awaits.
 */

import { createBuffer, destroyBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** A pool of staging buffers for reading results. */
export class Readback {
  readonly #free = new Map<number, GPUBuffer[]>();
  /**
   * Buffers whose mapping has been awaited once. A blocking read of any other buffer panics the
   * process.
   */
  readonly #awaited = new WeakSet<GPUBuffer>();
  /** Whether reads block until the work is done instead of waiting for Deno's next poll. */
  #blocking = false;

  private constructor(readonly gpu: Gpu) {}

  /** Creates a pool and tests whether blocking reads work. */
  static async create(gpu: Gpu): Promise<Readback> {
    const pool = new Readback(gpu);
    pool.#blocking = await pool.#tryBlocking();
    return pool;
  }

  /**
   * Records a copy of the first `bytes` (a multiple of 4) of `source`. The returned function must
   * be called after the submit, and returns the data.
   */
  copy(encoder: GPUCommandEncoder, source: GPUBuffer, bytes: number): () => Promise<ArrayBuffer> {
    // Sizes are rounded up to powers of two, so that buffers can be reused.
    const size = Math.max(256, 2 ** Math.ceil(Math.log2(bytes)));
    const staging = this.#take(size);
    encoder.copyBufferToBuffer(source, 0, staging, 0, bytes);
    return async () => {
      const mapped = staging.mapAsync(GPUMapMode.READ, 0, bytes);
      if (this.#blocking && this.#awaited.has(staging)) mapped.catch(() => {});
      else await mapped;
      this.#awaited.add(staging);
      this.gpu.copied.toHost += bytes;
      const data = staging.getMappedRange(0, bytes).slice(0);
      staging.unmap();
      this.#give(size, staging);
      return data;
    };
  }

  destroy(): void {
    for (const buffers of this.#free.values()) {
      for (const buffer of buffers) destroyBuffer(this.gpu, buffer, "readback");
    }
    this.#free.clear();
  }

  #take(size: number): GPUBuffer {
    const free = this.#free.get(size)?.pop();
    if (free !== undefined) return free;
    this.gpu.memory.readback += size;
    return this.gpu.device.createBuffer({
      label: "readback",
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  #give(size: number, buffer: GPUBuffer): void {
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
  }

  // Reads several values through one buffer. The first read awaits, as it must; the others do not.
  async #tryBlocking(): Promise<boolean> {
    const { device } = this.gpu;
    const source = createBuffer(this.gpu, {
      label: "readback test",
      bytes: 256,
      purpose: "readback",
    });
    const read = async (value: number) => {
      device.queue.writeBuffer(source, 0, new Uint32Array([value]));
      const encoder = device.createCommandEncoder();
      const finish = this.copy(encoder, source, 4);
      device.queue.submit([encoder.finish()]);
      return new Uint32Array(await finish())[0];
    };
    try {
      await read(1);
      this.#blocking = true;
      for (const value of [2, 3]) if (await read(value) !== value) return false;
      return true;
    } catch {
      return false;
    } finally {
      destroyBuffer(this.gpu, source, "readback");
    }
  }
}
