/** The kernels of the decode steps: how long, and how near to what the device can do. */

import type { Bench } from "../harness/harness.ts";
import { decodeCost } from "../kernels/costs.ts";
import { type Cell, value } from "../report/report.ts";
import { FOUR, type KernelStep, type KernelSteps, sumOf } from "../kernels/steps.ts";
import { summarize } from "../harness/stats.ts";
import type { Cost } from "../targets/target.ts";
import { decodesAll } from "../harness/timings.ts";

/** Why the fours of steps say nothing. */
export const TOO_FEW = `it takes ${FOUR} submits that decode; a larger --max-tokens gives them`;

interface KernelSum {
  calls: number;
  milliseconds: number;
  operations: number;
  bytes: number;
  counted: boolean;
}

/** Adds the table. */
export function kernelTable(bench: Bench, timed: KernelSteps): void {
  const table = bench.table("Kernels of the decode steps", [
    "Kernel",
    "Calls",
    ["Total (ms)", "ms"],
    "%",
    ["GFLOPS", "GFLOPS"],
    ["GB/s", "GB/s"],
    "% of limit",
  ]);
  const steps = timed.steps.flat().filter(({ host }) => decodesAll(host, 1));
  if (steps.length === 0) {
    table.say("Not measured: the adapter has no timestamp queries.");
    return;
  }
  const sums = sumKernels(bench, steps);
  const total = [...sums.values()].reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const byTime = [...sums].sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
  for (const [name, kernel] of byTime) {
    table.row(
      name,
      value(kernel.calls, ""),
      value(kernel.milliseconds, "ms"),
      value(100 * kernel.milliseconds / total, "%"),
      ...rates(bench, kernel.counted ? kernel : undefined, kernel.milliseconds),
    );
  }
  const { overhead } = timed;
  const middle = timed.middle();
  table.say(
    middle === undefined || overhead === undefined
      ? `Kernels timed one by one take ${
        summarize(steps.map(({ kernels }) => sumOf(kernels))).median.toFixed(3)
      } ms of a decode step. What timing adds to each is not known and not taken off, nor is their share known of a step that is not timed: ${TOO_FEW}.`
      : `Kernels take ${middle.kernels.toFixed(3)} ms of a decode step of ${
        middle.step.toFixed(3)
      } ms that is not timed, ${
        (100 * middle.kernels / middle.step).toFixed(0)
      } %: of all fours of steps (one timed kernel by kernel, two not, one as a whole) those with the median share. Timing each kernel adds ${
        (1000 * overhead).toFixed(1)
      } µs to it, which is taken off.`,
    `Totals are of ${steps.length} steps. Bytes and operations are those that the shapes call for; above 100 % of the bandwidth, caches helped.`,
  );
}

function sumKernels(bench: Bench, steps: readonly KernelStep[]): Map<string, KernelSum> {
  const { promptTokens } = bench.run;
  const prefillSteps = Math.ceil(promptTokens / bench.target.limits.maxBatchTokens);
  const sums = new Map<string, KernelSum>();
  for (const { kernels, index } of steps) {
    for (const { name, milliseconds } of kernels) {
      let sum = sums.get(name);
      if (sum === undefined) {
        sum = { calls: 0, milliseconds: 0, operations: 0, bytes: 0, counted: false };
        sums.set(name, sum);
      }
      sum.calls++;
      sum.milliseconds += milliseconds;
    }
    for (const name of new Set(kernels.map((kernel) => kernel.name))) {
      const cost = decodeCost(bench.target, name, promptTokens + index - prefillSteps);
      const sum = sums.get(name)!;
      if (cost === undefined) continue;
      sum.counted = true;
      sum.operations += cost.operations;
      sum.bytes += cost.bytes;
    }
  }
  return sums;
}

/** GFLOPS, GB/s and % of the nearer limit of what took `milliseconds`. */
export function rates(bench: Bench, cost: Cost | undefined, milliseconds: number): Cell[] {
  const { limits } = bench.report;
  if (cost === undefined || milliseconds === 0) return ["-", "-", "-"];
  const gflops = cost.operations / (milliseconds * 1e6);
  const gigabytes = cost.bytes / (milliseconds * 1e6);
  const share = limits === null
    ? "-"
    : value(100 * Math.max(gflops / limits.flops, gigabytes / limits.bandwidth), "%");
  return [value(gflops, "GFLOPS", limits?.flops), value(gigabytes, "GB/s"), share];
}
