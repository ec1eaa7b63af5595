/** Measures the tick of the device's timestamps, as Deno returns them in the device's own unit. */

import type { Gpu } from "./device.ts";
import type { Readback } from "./readback.ts";

/**
 * Time between the two readings in ms: long compared with the delays of the host's clock, short
 * compared with a run whose kernels are timed.
 */
const APART_MS = 50;

/** One timestamp, and the host's clock in ms before it was requested and after it was read. */
export interface ClockReading {
  readonly ticks: bigint;
  readonly before: number;
  readonly after: number;
}

/**
 * Returns the nanoseconds per tick. The first call measures them, which takes about 50 ms; later
 * calls reuse the result.
 */
export function timestampPeriod(gpu: Gpu, readback: Readback): Promise<number> {
  return gpu.timestampPeriod ??= measurePeriod(gpu, readback);
}

/**
 * Returns the nanoseconds per tick between two readings. If the readings are consistent with 1, as
 * on most devices, it returns exactly 1, so that the host's delays do not add an error.
 */
export function periodBetween(first: ClockReading, second: ClockReading): number {
  const ticks = Number(second.ticks - first.ticks);
  // Without any ticks, there is nothing to compute from.
  if (ticks <= 0) return 1;
  const least = (second.before - first.after) * 1e6 / ticks;
  const most = (second.after - first.before) * 1e6 / ticks;
  // The two clocks differ by less than a thousandth.
  return least <= 1.001 && most >= 0.999 ? 1 : (least + most) / 2;
}

async function measurePeriod(gpu: Gpu, readback: Readback): Promise<number> {
  const { device } = gpu;
  const queries = device.createQuerySet({ type: "timestamp", count: 1 });
  const resolved = device.createBuffer({
    label: "timestamp",
    size: 256,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const read = async (): Promise<ClockReading> => {
    const before = performance.now();
    const encoder = device.createCommandEncoder({ label: "timestamp" });
    encoder.beginComputePass({
      timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 0 },
    }).end();
    encoder.resolveQuerySet(queries, 0, 1, resolved, 0);
    const bytes = readback.copy(encoder, resolved, 8);
    device.queue.submit([encoder.finish()]);
    const ticks = new BigUint64Array(await bytes())[0]!;
    return { ticks, before, after: performance.now() };
  };
  try {
    // A warm-up: the first read of a buffer and the first commands of a device are slow.
    await read();
    const first = await read();
    await new Promise((resolve) => setTimeout(resolve, APART_MS));
    return periodBetween(first, await read());
  } finally {
    queries.destroy();
    resolved.destroy();
  }
}
