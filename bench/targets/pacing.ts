/**
 * Sends the requests of a load: as many at once as permitted, or at random times with a given rate.
 */

import { Slots } from "../../client/slots.ts";

/** How the requests of a load arrive. */
export interface Pace {
  /** Maximum number of requests at once; default: any number. */
  readonly concurrency?: number;
  /** Requests per second, however fast the server is; default: as soon as they are permitted. */
  readonly rate?: number;
  /** 1: a Poisson process; less: in bursts; more: more evenly. */
  readonly burstiness: number;
  readonly seed: number;
}

/**
 * Starts each of `count` requests at its arrival time. Resolves when all have ended, successfully
 * or not.
 *
 * @throws the reason of `signal` once it is aborted and all started requests have ended.
 */
export async function paced<T>(
  count: number,
  start: (index: number) => Promise<T>,
  { pace, signal }: { readonly pace: Pace; readonly signal: AbortSignal | undefined },
): Promise<PromiseSettledResult<T>[]> {
  const slots = new Slots(pace.concurrency ?? Infinity);
  const begun = performance.now();
  const times = arrivals(count, pace);
  const results = await Promise.allSettled(times.map(async (time, index) => {
    if (time > 0) await until(begun + time, signal);
    using _slot = await slots.take();
    signal?.throwIfAborted();
    return await start(index);
  }));
  signal?.throwIfAborted();
  return results;
}

function until(time: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, time - performance.now()));
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

/**
 * Arrival times of the requests in ms; the first one is 0. The gaps have a gamma distribution with
 * shape `burstiness`, like those of `vllm bench serve`; with shape 1 it is the exponential one.
 */
export function arrivals(count: number, { rate, burstiness, seed }: Pace): number[] {
  if (rate === undefined) return Array.from({ length: count }, () => 0);
  const random = generator(seed);
  let time = 0;
  return Array.from({ length: count }, (_, i) => {
    if (i > 0) time += 1000 * gamma(burstiness, random) / (burstiness * rate);
    return time;
  });
}

/**
 * A random number from the gamma distribution with this shape and scale 1. Marsaglia and Tsang, "A
 * simple method for generating gamma variables", ACM Transactions on Mathematical Software 26,
 * 2000.
 */
function gamma(shape: number, random: () => number): number {
  if (shape < 1) return gamma(shape + 1, random) * random() ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(random()) < x * x / 2 + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** A random number from the normal distribution, by Box and Muller's method. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
}

/** Uniform numbers above 0 and up to 1: the generator "mulberry32" by Tommy Ettinger. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 1) / 2 ** 32;
  };
}
