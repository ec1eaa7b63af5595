/** A decode step and its kernels as they are when nothing disturbs them. */

import { percentile, summarize } from "../stats.ts";
import type { Serving } from "../target.ts";
import { decodesAll, decodeStepTimes } from "../timings.ts";
import { hostsByStep, kernelsByStep } from "../trace.ts";

/** Disturbances only ever add time, so this percentile of step times compares best. */
export const QUIET = 10;
/** Steps that are averaged first, as one that is read late makes the next one seem short. */
export const WINDOW = 8;

/** ms of the kernels of a quiet decode step, of profiled runs, and of a whole one, of plain runs. */
export function quietStep(
  profiled: readonly Serving[],
  plain: readonly Serving[],
): { readonly kernels: number; readonly step: number } {
  const quiet = (runs: readonly number[][]) => percentile(runs.flatMap(windowMeans), QUIET);
  return {
    kernels: quiet(profiled.map(kernelTimes)),
    step: quiet(plain.map((serving) => decodeStepTimes(serving, 1))),
  };
}

/** ms of the kernels of each step that decodes the one request. */
function kernelTimes({ steps, kernels }: Serving): number[] {
  const hosts = hostsByStep(steps);
  return kernelsByStep(kernels).filter((_, i) => decodesAll(hosts[i]!, 1))
    .map((step) => step.reduce((sum, { milliseconds }) => sum + milliseconds, 0));
}

/** Means of WINDOW times in a row, or of all where they are fewer. */
function windowMeans(times: readonly number[]): number[] {
  const size = Math.min(WINDOW, times.length);
  return Array.from(
    { length: times.length - size + 1 },
    (_, i) => summarize(times.slice(i, i + size)).mean,
  );
}
