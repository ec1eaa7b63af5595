/** Measures what the processor can do with a number of threads: the limits of the CPU backend. */

import {
  DOT_OPERATIONS,
  FLOAT_OPERATIONS,
  makeProbe,
  PROBE,
  PROBE_BYTES,
} from "../../kernels/wasm/probe.ts";
import { JOIN, OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import type { ProductForm } from "../../kernels/wasm/products.ts";
import { Layout, PAGE, SharedMemory } from "./memory.ts";
import { controlBytes, ThreadPool } from "./thread_pool.ts";

/**
 * More than the caches of most processors. On a processor with larger caches, those are measured
 * instead of memory.
 */
const READ_BYTES = 256 * 2 ** 20;
const ARITHMETIC_UNITS = 512;
/** Runs per measurement. */
const ROUNDS = 10;
const LIST = 512;

/** Samples of each measurement. */
export interface CpuProbe {
  /** GB/s of reading, with all threads that the model runs on. */
  readonly bandwidth: readonly number[];
  /** The same with 1, 2, 4 … threads. */
  readonly bandwidths: readonly {
    readonly threads: number;
    readonly bandwidth: readonly number[];
  }[];
  /**
   * 10⁹ operations per second of products: the larger rate of float32 and of integers in two
   * planes.
   */
  readonly flops: readonly number[];
  /** 10⁹ operations per second of dot products of bytes, in the form that the kernels use. */
  readonly int8: readonly number[];
  /** µs per operation after which all threads wait for each other. */
  readonly dispatch: readonly number[];
  /** ms from starting a list of one empty operation to its end. */
  readonly readback: readonly number[];
  /** GB/s of copying. */
  readonly upload: readonly number[];
}

/**
 * Measures the processor, which takes about a second.
 *
 * @param pause called between samples, which take milliseconds; an error that it throws ends the
 *   probe
 */
export async function probeCpu(
  threads: number,
  form: ProductForm,
  pause: () => Promise<void>,
): Promise<CpuProbe> {
  const layout = new Layout();
  const control = layout.allocate(controlBytes(threads));
  const list = layout.allocate(LIST * OPERATION_BYTES);
  const out = layout.allocate(16 * threads);
  // Units begin at multiples of their size.
  const data = Math.ceil(layout.allocate(READ_BYTES + PROBE_BYTES) / PROBE_BYTES) * PROBE_BYTES;
  const memory = new SharedMemory(layout.pages);
  const probe = makeProbe(form, memory.maximum);
  const pool = new ThreadPool(memory, new WebAssembly.Module(probe.bytes), { control, threads });
  try {
    await pool.ready();
    // Writes to every page, because pages that were never written may not exist.
    for (let at = data; at < data + READ_BYTES; at += PAGE / 16) memory.bytes[at] = 1;
    const time = async (kernel: number, units: number, count = 1): Promise<number[]> => {
      for (let i = 0; i < count; i++) {
        memory.writeOperation(
          list + i * OPERATION_BYTES,
          { kernel, units, chunk: Math.max(1, Math.ceil(units / (16 * threads))), flags: JOIN },
          { fields: PROBE, values: { data, out } },
        );
      }
      return await samples(() => pool.run(list, count));
    };
    const samples = async (work: () => void): Promise<number[]> => {
      const milliseconds: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        await pause();
        const started = performance.now();
        work();
        milliseconds.push(performance.now() - started);
      }
      return milliseconds;
    };
    const counts: number[] = [];
    for (let n = 1; n < threads; n *= 2) counts.push(n);
    const bandwidths = [];
    for (const active of [...counts, threads]) {
      pool.active = active;
      const reading = await time(probe.read, READ_BYTES / PROBE_BYTES);
      const bandwidth = reading.map((ms) => READ_BYTES / (ms * 1e6));
      bandwidths.push({ threads: active, bandwidth });
    }
    const rate = async (kernel: number, operations: number) =>
      (await time(kernel, ARITHMETIC_UNITS))
        .map((ms) => ARITHMETIC_UNITS * operations / (ms * 1e6));
    const one = await time(probe.nothing, 0);
    const int8 = await rate(probe.dots, DOT_OPERATIONS);
    const floats = await rate(probe.floats, FLOAT_OPERATIONS);
    // Products with 16-bit activations need a dot product of bytes for each half of the activations.
    const planes = form === "plain" ? 1 : 2;
    const many = await time(probe.nothing, 0, LIST);
    const half = READ_BYTES / 2;
    const copying = await samples(() =>
      void memory.bytes.copyWithin(data, data + half, data + READ_BYTES)
    );
    return {
      bandwidth: bandwidths.at(-1)!.bandwidth,
      bandwidths,
      flops: floats.map((float, i) => Math.max(float, int8[i]! / planes)),
      int8,
      dispatch: many.map((ms, i) => 1000 * Math.max(0, ms - one[i]!) / (LIST - 1)),
      readback: one,
      upload: copying.map((ms) => half / (ms * 1e6)),
    };
  } finally {
    pool.destroy();
  }
}
