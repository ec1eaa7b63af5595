/** What the processor can do with so many threads, measured on it: the limits of the CPU backend. */

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

/** More than the caches of most processors; some have more, which then are what is measured. */
const READ_BYTES = 256 * 2 ** 20;
const ARITHMETIC_UNITS = 512;
/** Runs of each. */
const ROUNDS = 10;
const LIST = 512;

/** Samples of each figure. */
export interface CpuProbe {
  /** GB/s of reading, with the threads that the model runs on. */
  readonly bandwidth: readonly number[];
  /** The same with 1, 2, 4 … threads. */
  readonly bandwidths: readonly {
    readonly threads: number;
    readonly bandwidth: readonly number[];
  }[];
  /** 10⁹ operations a second of products: of float32, or of integers in two planes. */
  readonly flops: readonly number[];
  /** 10⁹ operations a second of dot products of bytes, in the form that the kernels use. */
  readonly int8: readonly number[];
  /** µs of an operation after which all threads wait for each other. */
  readonly dispatch: readonly number[];
  /** ms to start a list and see its end. */
  readonly readback: readonly number[];
  /** GB/s of copying. */
  readonly upload: readonly number[];
}

/** Takes about a second. */
export async function probeCpu(threads: number, form: ProductForm): Promise<CpuProbe> {
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
    // Pages that were never written may not exist.
    for (let at = data; at < data + READ_BYTES; at += PAGE / 16) memory.bytes[at] = 1;
    const time = (kernel: number, units: number, count = 1): number[] => {
      for (let i = 0; i < count; i++) {
        memory.writeOperation(
          list + i * OPERATION_BYTES,
          { kernel, units, chunk: Math.max(1, Math.ceil(units / (16 * threads))), flags: JOIN },
          { fields: PROBE, values: { data, out } },
        );
      }
      return Array.from({ length: ROUNDS }, () => {
        const started = performance.now();
        pool.run(list, count);
        return performance.now() - started;
      });
    };
    const bandwidthOf = (active: number) => {
      pool.active = active;
      return {
        threads: active,
        bandwidth: time(probe.read, READ_BYTES / PROBE_BYTES).map((ms) => READ_BYTES / (ms * 1e6)),
      };
    };
    const counts: number[] = [];
    for (let n = 1; n < threads; n *= 2) counts.push(n);
    const bandwidths = [...counts, threads].map(bandwidthOf);
    const rate = (kernel: number, operations: number) =>
      time(kernel, ARITHMETIC_UNITS).map((ms) => ARITHMETIC_UNITS * operations / (ms * 1e6));
    const one = time(probe.nothing, 0);
    const int8 = rate(probe.dots, DOT_OPERATIONS);
    const floats = rate(probe.floats, FLOAT_OPERATIONS);
    return {
      bandwidth: bandwidths.at(-1)!.bandwidth,
      bandwidths,
      flops: floats.map((float, i) => Math.max(float, int8[i]! / 2)),
      int8,
      dispatch: time(probe.nothing, 0, LIST)
        .map((ms, i) => 1000 * Math.max(0, ms - one[i]!) / (LIST - 1)),
      readback: one,
      upload: Array.from({ length: ROUNDS }, () => copyRate(memory, data)),
    };
  } finally {
    pool.destroy();
  }
}

function copyRate({ bytes }: SharedMemory, at: number): number {
  const half = READ_BYTES / 2;
  const started = performance.now();
  bytes.copyWithin(at, at + half, at + READ_BYTES);
  return half / ((performance.now() - started) * 1e6);
}
