/**
 * Measures what a device can do: the limits that results are compared with. Kernels are timed by
 * the device's timestamps if it has them, otherwise by the host, over many repetitions with one
 * readback.
 */

import type { KernelSpec } from "../../kernels/spec.ts";
import { createBuffer, destroyBuffer } from "../../engine/gpu/buffers.ts";
import type { Gpu } from "../../engine/gpu/device.ts";
import { type Dispatch, Recorder } from "../../engine/gpu/pass.ts";
import { Pipelines } from "../../engine/gpu/pipelines.ts";
import { Readback } from "../../engine/gpu/readback.ts";
import dot from "./probe/dot.wgsl" with { type: "text" };
import fma from "./probe/fma.wgsl" with { type: "text" };
import nothing from "./probe/nothing.wgsl" with { type: "text" };
import read from "./probe/read.wgsl" with { type: "text" };
import { medianOf } from "../report/stats.ts";
import type { Probe } from "./target.ts";

/**
 * Sizes of the probe by class of adapter, long enough to time. On hardware the buffer is larger
 * than the caches. A processor may have 300 MiB of cache, but reading more than that takes software
 * adapters a second or longer.
 */
const SIZES = {
  software: { lanes: 8, bytes: 64 << 20, invocations: 4096, rounds: 256, times: 2 },
  hardware: { lanes: 256, bytes: 512 << 20, invocations: 1 << 20, rounds: 1024, times: 3 },
} as const;

const VECTOR_BYTES = 16;
// Number of vectors that an invocation loads.
const VECTORS = 256;
// Operations in a round of fma.wgsl (chains of vec4) and dot.wgsl (of four products): eight chains
// of four elements, each with a multiplication and an addition.
const CHAIN_OPERATIONS = 8 * 4 * 2;
const UPLOAD_PIECE = 4 << 20;
const UPLOAD_PIECES = 2;
/** Samples of each figure: as many as a suite has repetitions by default. */
const SAMPLES = 7;
const DISPATCHES = 1000;

/**
 * Measures the device in about a second, and frees the buffers.
 *
 * @param pause called between samples; an error that it throws ends the probe
 */
export async function probeGpu(
  gpu: Gpu,
  pause: () => Promise<void> = () => Promise.resolve(),
): Promise<Probe> {
  const probe = new GpuProbe(gpu, await Readback.create(gpu), pause);
  try {
    return await probe.measure();
  } finally {
    probe.destroy();
  }
}

class GpuProbe {
  readonly #pipelines: Pipelines;
  readonly #data: GPUBuffer;
  readonly #sums: GPUBuffer;
  readonly #sizes: typeof SIZES["software" | "hardware"];

  constructor(
    readonly gpu: Gpu,
    readonly readback: Readback,
    readonly pause: () => Promise<void>,
  ) {
    this.#sizes = SIZES[gpu.driver];
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.limits;
    const most = 2 ** Math.floor(Math.log2(Math.min(maxStorageBufferBindingSize, maxBufferSize)));
    const bytes = Math.min(this.#sizes.bytes, most);
    this.#pipelines = new Pipelines(gpu, 256);
    this.#data = createBuffer(gpu, { label: "probe data", bytes, purpose: "scratch" });
    const invocations = Math.max(bytes / VECTOR_BYTES / VECTORS, this.#sizes.invocations);
    this.#sums = createBuffer(gpu, {
      label: "probe sums",
      bytes: invocations * 4,
      purpose: "scratch",
    });
  }

  destroy(): void {
    this.readback.destroy();
    destroyBuffer(this.gpu, this.#data, "scratch");
    destroyBuffer(this.gpu, this.#sums, "scratch");
  }

  async measure(): Promise<Probe> {
    const { lanes, invocations, rounds } = this.#sizes;
    const bytes = this.#data.size;
    const readers = bytes / VECTOR_BYTES / VECTORS;
    // The upload also fills the buffer, as pages that were never written may not exist.
    const upload = await this.#upload();
    // On hardware, neighbouring lanes read neighbouring vectors; in software, each lane reads
    // consecutive vectors.
    const strides = this.gpu.driver === "hardware"
      ? { STEP: readers, SPREAD: 1 }
      : { STEP: 1, SPREAD: VECTORS };
    const reading = this.#spec("probe_read", read, { LANES: lanes, VECTORS, ...strides });
    const calculating = ([["probe_fma", fma], ["probe_dot", dot]] as const).map(([name, code]) =>
      this.#spec(name, code, { LANES: lanes, ROUNDS: rounds })
    );
    const kernels = [
      { spec: reading, groups: readers / lanes, amount: bytes },
      ...calculating.map((spec) => ({
        spec,
        groups: invocations / lanes,
        amount: invocations * rounds * CHAIN_OPERATIONS,
      })),
    ].map(({ spec, groups, amount }) => ({ dispatch: this.#dispatch(spec, groups), amount }));
    for (const { dispatch } of kernels) {
      await this.pause();
      await this.#run(dispatch, 1); // compiles
    }
    // Interleaved, so that the samples of each figure are spread over the whole time.
    const rates = kernels.map((): number[] => []);
    const dispatches: number[] = [];
    const overhead = await this.#dispatchOverhead();
    for (let i = 0; i < SAMPLES; i++) {
      for (const [k, { dispatch, amount }] of kernels.entries()) {
        await this.pause();
        rates[k]!.push(amount / (await this.#time(dispatch) * 1e6));
      }
      await this.pause();
      dispatches.push(await overhead());
    }
    const [bandwidth = [], flops = [], int8 = []] = rates;
    const readback = await this.#readbackLatency();
    return { bandwidth, flops, int8, dispatch: dispatches, readback, upload };
  }

  #spec(name: string, code: string, overrides: KernelSpec["overrides"]): KernelSpec {
    return {
      name,
      parts: [code],
      overrides,
      bindings: { ...(code === read && { 0: "read" as const }), 1: "write" },
      workgroupSize: [overrides.LANES ?? 1, 1],
      workgroupBytes: 0,
    };
  }

  #dispatch(spec: KernelSpec, groups: number): Dispatch {
    const pipeline = this.#pipelines.get(spec);
    const group = this.#pipelines.bind(pipeline, { 0: this.#data, 1: this.#sums });
    return { pipeline, group, workgroups: [groups, 1] };
  }

  // The median time of a few dispatches in ms.
  async #time(dispatch: Dispatch): Promise<number> {
    const { times } = this.#sizes;
    if (!this.gpu.features.has("timestamp-query")) {
      return (await this.#run(dispatch, 4 * times) - await this.#run(dispatch, times)) /
        (3 * times);
    }
    const recorder = new Recorder(this.gpu, "each");
    for (let i = 0; i < times; i++) recorder.dispatch(dispatch, 0);
    const measured = await recorder.submit(this.readback)();
    return medianOf(measured.map((time) => time.milliseconds).filter((ms) => ms > 0));
  }

  // Wall time of `count` dispatches and one small readback in ms.
  async #run(dispatch: Dispatch, count: number): Promise<number> {
    const recorder = new Recorder(this.gpu);
    for (let i = 0; i < count; i++) recorder.dispatch(dispatch, 0);
    recorder.endPass();
    const finish = this.readback.copy(recorder.encoder, this.#sums, 4);
    const start = performance.now();
    recorder.submit(this.readback);
    await finish();
    return performance.now() - start;
  }

  // Returns a function that measures µs per dispatch in a series: the difference of two runs, so
  // that the readback is not included.
  async #dispatchOverhead(): Promise<() => Promise<number>> {
    const dispatch = this.#dispatch(this.#spec("probe_nothing", nothing, {}), 1);
    await this.#run(dispatch, 100);
    return async () => {
      const few = await this.#run(dispatch, 100);
      const many = await this.#run(dispatch, 100 + DISPATCHES);
      return Math.max(0, (many - few) / DISPATCHES * 1000);
    };
  }

  async #readbackLatency(): Promise<number[]> {
    const samples: number[] = [];
    for (let i = 0; i < 3 * SAMPLES; i++) {
      const encoder = this.gpu.device.createCommandEncoder({ label: "probe readback" });
      const finish = this.readback.copy(encoder, this.#sums, 4);
      const start = performance.now();
      this.gpu.device.queue.submit([encoder.finish()]);
      await finish();
      samples.push(performance.now() - start);
    }
    return samples;
  }

  // GB/s of writes in pieces like the loader's, until the end of the copy on the device.
  async #upload(): Promise<number[]> {
    const piece = new Uint32Array(UPLOAD_PIECE / 4).fill(0x01010101);
    const all = this.#data.size / UPLOAD_PIECE;
    const rates: number[] = [];
    for (let at = 0; at < all; at += UPLOAD_PIECES) {
      await this.pause();
      const count = Math.min(UPLOAD_PIECES, all - at);
      const start = performance.now();
      for (let i = at; i < at + count; i++) {
        this.gpu.device.queue.writeBuffer(this.#data, i * UPLOAD_PIECE, piece);
      }
      const encoder = this.gpu.device.createCommandEncoder({ label: "probe upload" });
      const finish = this.readback.copy(encoder, this.#data, 4);
      this.gpu.device.queue.submit([encoder.finish()]);
      await finish();
      rates.push(count * UPLOAD_PIECE / ((performance.now() - start) * 1e6));
    }
    return rates;
  }
}
