/** What the timestamps of a kernel in a pass of its own add to the time that it takes among others. */

import { GREEDY } from "../engine/run/model_runner.ts";
import type { GpuRunner } from "../engine/run/gpu_runner.ts";
import { summarize } from "./stats.ts";

/** Kernels a pass, in the steps that are compared with those of one. */
const TOGETHER = 8;
/** Pairs of steps: so many, or as many as this time allows and no fewer than `FEWEST`. */
const MOST = 32;
const FEWEST = 5;
const MILLISECONDS = 4000;

/**
 * µs that profiling adds to each kernel of a decode step: pairs of such steps are timed in passes
 * of one kernel and of eight, and what the two differ by, in the median, is shared among the passes
 * by which they differ. An empty kernel says too little: real ones lose up to five times as much.
 */
export async function timingOverhead(runner: GpuRunner, signal?: AbortSignal): Promise<number> {
  await timeStep(runner, 1); // compiles
  const samples: number[] = [];
  const end = performance.now() + MILLISECONDS;
  while (samples.length < FEWEST || samples.length < MOST && performance.now() < end) {
    signal?.throwIfAborted();
    const alone = await timeStep(runner, 1);
    const together = await timeStep(runner, TOGETHER);
    samples.push((alone.time - together.time) / (alone.passes - together.passes) * 1000);
  }
  return Math.max(0, summarize(samples).median);
}

/** Passes of a decode step whose kernels are timed `profile` at a time, and ms of all of them. */
async function timeStep(runner: GpuRunner, profile: number) {
  runner.profile = profile;
  await runner.submit({
    sequences: [{ slot: 0, tokens: [0], start: 0, blockTable: [0], sampling: GREEDY }],
  }).read();
  runner.profile = 0;
  const times = runner.kernelTimes.splice(0);
  return {
    passes: times.length,
    time: times.reduce((sum, { milliseconds }) => sum + milliseconds, 0),
  };
}
