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
/** Runs of each, the best of which counts: a limit is what can be done if nothing disturbs it. */
const ROUNDS = 10;
const LIST = 512;

export interface CpuProbe {
  /** GB/s of reading, with the threads that the model runs on. */
  readonly bandwidth: number;
  /** The same with 1, 2, 4 … threads. */
  readonly bandwidths: readonly { readonly threads: number; readonly bandwidth: number }[];
  /** 10⁹ operations a second of products: of float32, or of integers in two planes. */
  readonly flops: number;
  /** 10⁹ operations a second of dot products of bytes, in the form that the kernels use. */
  readonly int8: number;
  /** µs of an operation after which all threads wait for each other. */
  readonly dispatch: number;
  /** ms to start a list and see its end. */
  readonly readback: number;
  /** GB/s of copying. */
  readonly upload: number;
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
    const time = (kernel: number, units: number, count = 1): number => {
      for (let i = 0; i < count; i++) {
        memory.writeOperation(
          list + i * OPERATION_BYTES,
          { kernel, units, chunk: Math.max(1, Math.ceil(units / (16 * threads))), flags: JOIN },
          { fields: PROBE, values: { data, out } },
        );
      }
      let best = Infinity;
      for (let round = 0; round < ROUNDS; round++) {
        const started = performance.now();
        pool.run(list, count);
        best = Math.min(best, performance.now() - started);
      }
      return best;
    };
    const bandwidthOf = (active: number) => {
      pool.active = active;
      return {
        threads: active,
        bandwidth: READ_BYTES / (time(probe.read, READ_BYTES / PROBE_BYTES) * 1e6),
      };
    };
    const counts: number[] = [];
    for (let n = 1; n < threads; n *= 2) counts.push(n);
    const bandwidths = [...counts, threads].map(bandwidthOf);
    const rate = (kernel: number, operations: number) =>
      ARITHMETIC_UNITS * operations / (time(kernel, ARITHMETIC_UNITS) * 1e6);
    const one = time(probe.nothing, 0);
    const int8 = rate(probe.dots, DOT_OPERATIONS);
    return {
      bandwidth: bandwidths.at(-1)!.bandwidth,
      bandwidths,
      flops: Math.max(rate(probe.floats, FLOAT_OPERATIONS), int8 / 2),
      int8,
      dispatch: 1000 * Math.max(0, time(probe.nothing, 0, LIST) - one) / (LIST - 1),
      readback: one,
      upload: copyRate(memory, data),
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
