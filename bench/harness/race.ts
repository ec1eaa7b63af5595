/** Measures two sides, interleaved, until one is clearly faster or they are clearly equal. */

import { RandomSource } from "../../engine/files/random_weights.ts";
import { EventLoop } from "../../engine/run/event_loop.ts";
import { sequentialInterval } from "../report/comparison/sequential.ts";
import type { Interval } from "../report/report.ts";
import { medianRatio } from "../report/stats.ts";

/** The measurements of one run of a side, by metric. */
export type Measured = Readonly<Record<string, number>>;

/** How sides are interleaved. */
export interface RaceOptions {
  /** The metric that decides when to stop. */
  readonly metric: string;
  /** Ratios up to 1 + this count as equal: the race ends once the interval is within this range. */
  readonly margin: number;
  /** ms after which the race ends in any case. */
  readonly budget: number;
  readonly warmUps: number;
  /** Seed of the random order of each round. */
  readonly seed: number;
  now(): number;
  /** Called after every round. */
  readonly progress?: (result: Race) => void;
  /** Ends the race with the rounds that are done; if there are none, its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** Why the race ended. */
export type Ending = "difference" | "equal" | "budget" | "interrupted";

/** The measurements so far. */
export interface Race {
  /** Per metric, one value per round: the mean of the side's two runs. */
  readonly a: Readonly<Record<string, number[]>>;
  readonly b: Readonly<Record<string, number[]>>;
  readonly rounds: number;
  /** ms since the start of the first round, which the budget counts from. */
  readonly elapsed: number;
  /** B / A of the deciding metric, and its interval, which is valid whenever the race ends. */
  readonly ratio: number;
  readonly interval: Interval | undefined;
  /** Undefined while the race is running. */
  readonly ending: Ending | undefined;
}

/**
 * Runs rounds of A B B A or B A A B in random order. If the sides are equal, B is the slower one in
 * a round with probability 1/2, whatever else the machine does, as the other order was equally
 * likely. The stopping rule relies on this.
 */
export async function race(
  a: () => Promise<Measured>,
  b: () => Promise<Measured>,
  options: RaceOptions,
): Promise<Race> {
  const { metric, margin, budget, warmUps, now, progress, signal } = options;
  const random = new RandomSource(options.seed);
  const eventLoop = new EventLoop();
  const samples: { a: Record<string, number[]>; b: Record<string, number[]> } = { a: {}, b: {} };
  const ratios: number[] = [];
  for (let i = 0; i < warmUps; i++) {
    for (const run of [a, b]) {
      signal?.throwIfAborted();
      await run();
    }
  }
  const start = now();
  let result: Race | undefined;
  while (result?.ending === undefined) {
    const outer = random.uint32() % 2 === 0;
    const runs: { a: Measured[]; b: Measured[] } = { a: [], b: [] };
    try {
      for (const side of outer ? ["a", "b", "b", "a"] as const : ["b", "a", "a", "b"] as const) {
        await eventLoop.yield(); // lets signals be handled
        signal?.throwIfAborted();
        runs[side].push(await (side === "a" ? a() : b()));
      }
    } catch (error) {
      if (signal?.aborted && result !== undefined) return { ...result, ending: "interrupted" };
      throw error;
    }
    for (const side of ["a", "b"] as const) {
      const [first, second] = runs[side];
      for (const name in first) {
        (samples[side][name] ??= []).push((first[name]! + second![name]!) / 2);
      }
    }
    ratios.push(samples.b[metric]!.at(-1)! / samples.a[metric]!.at(-1)!);
    const interval = sequentialInterval(ratios);
    const elapsed = now() - start;
    const ending = endingOf(interval, { margin, isOver: elapsed >= budget });
    result = {
      ...samples,
      rounds: ratios.length,
      elapsed,
      ratio: medianRatio(ratios),
      interval,
      ending,
    };
    progress?.(result);
  }
  return result;
}

function endingOf(
  interval: Interval | undefined,
  { margin, isOver }: { readonly margin: number; readonly isOver: boolean },
): Ending | undefined {
  if (interval !== undefined) {
    const [low, high] = interval;
    if (low > 1 || high < 1) return "difference";
    if (low > 1 / (1 + margin) && high < 1 + margin) return "equal";
  }
  return isOver ? "budget" : undefined;
}
