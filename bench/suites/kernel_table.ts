/** The kernels of the decode steps: how long, and how near to what the device can do. */

import type { Bench } from "../harness.ts";
import { decodeCost } from "../kernel_costs.ts";
import { type Cell, value } from "../report.ts";
import { summarize } from "../stats.ts";
import type { Cost, Serving } from "../target.ts";
import { kernelsByStep } from "../trace.ts";
import { QUIET, quietStep, WINDOW } from "./quiet_step.ts";

interface KernelSum {
  calls: number;
  milliseconds: number;
  operations: number;
  bytes: number;
  counted: boolean;
}

/** Adds the table; returns the kernels' ms of a decode step, undefined without timestamps. */
export function kernelTable(
  bench: Bench,
  profiled: readonly Serving[],
  unprofiled: readonly Serving[],
): number | undefined {
  const table = bench.table("Kernels of the decode steps", [
    "Kernel",
    "Calls",
    ["Total (ms)", "ms"],
    "%",
    ["GFLOPS", "GFLOPS"],
    ["GB/s", "GB/s"],
    "% of limit",
  ]);
  if (profiled.length === 0) {
    table.say("Not measured: the adapter has no timestamp queries.");
    return undefined;
  }
  const { sums, stepTimes } = sumKernels(bench, profiled);
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
  const { kernels, step } = quietStep(profiled, unprofiled);
  table.say(
    `In quiet steps (the ${QUIET}th percentile of means of ${WINDOW}), kernels take ${
      kernels.toFixed(3)
    } ms, and a whole step ` +
      `${step.toFixed(3)} ms unprofiled: ${
        (kernels / step).toFixed(2)
      } of it. Totals are of ${stepTimes.length} steps.`,
    "The time that profiling adds to each kernel, measured before the run, is taken off. Bytes and operations are those that the shapes call for; above 100 % of the bandwidth, caches helped.",
  );
  return summarize(stepTimes).median;
}

function sumKernels(bench: Bench, profiled: readonly Serving[]) {
  const { promptTokens, maxTokens } = bench.run;
  const prefillSteps = Math.ceil(promptTokens / bench.target.limits.maxBatchTokens);
  const sums = new Map<string, KernelSum>();
  const stepTimes: number[] = [];
  for (const { kernels } of profiled) {
    const decode = kernelsByStep(kernels).slice(prefillSteps, prefillSteps + maxTokens - 1);
    for (const [i, step] of decode.entries()) {
      let stepTime = 0;
      for (const { name, milliseconds } of step) {
        let sum = sums.get(name);
        if (sum === undefined) {
          sums.set(
            name,
            sum = { calls: 0, milliseconds: 0, operations: 0, bytes: 0, counted: false },
          );
        }
        sum.calls++;
        sum.milliseconds += milliseconds;
        stepTime += milliseconds;
      }
      stepTimes.push(stepTime);
      for (const name of new Set(step.map((kernel) => kernel.name))) {
        const cost = decodeCost(bench.target, name, promptTokens + i);
        const sum = sums.get(name)!;
        if (cost === undefined) continue;
        sum.counted = true;
        sum.operations += cost.operations;
        sum.bytes += cost.bytes;
      }
    }
  }
  return { sums, stepTimes };
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
