/** How long a tick of the device's timestamps is: Deno hands them out as the device counts them. */

import type { Gpu } from "./device.ts";
import type { Readback } from "./readback.ts";

/** Long against what the host's clock is late by, short against a run whose kernels are timed. */
const APART_MS = 50;

/** One timestamp, and the host's clock in ms before it was asked for and after it was read. */
export interface ClockReading {
  readonly ticks: bigint;
  readonly before: number;
  readonly after: number;
}

/** Nanoseconds a tick; measured when it is first asked for, in about 50 ms, and kept. */
export function timestampPeriod(gpu: Gpu, readback: Readback): Promise<number> {
  return gpu.timestampPeriod ??= measurePeriod(gpu, readback);
}

/**
 * Nanoseconds a tick between two readings: 1, where they do not rule it out, as on most devices, so
 * that the host's delays do not blur those.
 */
export function periodBetween(first: ClockReading, second: ClockReading): number {
  const ticks = Number(second.ticks - first.ticks);
  // A clock that stands still tells nothing.
  if (ticks <= 0) return 1;
  const least = (second.before - first.after) * 1e6 / ticks;
  const most = (second.after - first.before) * 1e6 / ticks;
  // Two clocks run apart by less than a thousandth.
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
    // The first read of a buffer takes long, and so do the first commands of a device.
    await read();
    const first = await read();
    await new Promise((resolve) => setTimeout(resolve, APART_MS));
    return periodBetween(first, await read());
  } finally {
    queries.destroy();
    resolved.destroy();
  }
}
