/**
 * Tables of the kernels of decode steps and of prompts: their times and their shares of the
 * device's limits.
 */

import type { Harness } from "../harness/harness.ts";
import { type KernelStep, type KernelSteps, sumOf } from "../harness/kernel_steps.ts";
import type { Recording } from "../harness/recorder.ts";
import { decodesAll } from "../harness/timings.ts";
import { decodeCost, promptCost } from "../kernels/costs.ts";
import type { Cost } from "../kernels/kernel_bench.ts";
import { KERNELS_SHARE, type Metric } from "../report/metrics.ts";
import type { Limits, Result } from "../report/report.ts";
import { medianOf } from "../report/stats.ts";
import { CYCLE_SUBMITS } from "../targets/timed_runner.ts";
import { plural } from "../../engine/plural.ts";

/** Calls and time of a kernel in all steps whose kernels were timed one by one. */
const KERNEL_CALLS: Metric = { id: "kernel_calls", unit: "" };
export const KERNEL_TIME: Metric = { id: "kernel_time", unit: "ms" };
/** A kernel's share of the time of all kernels. */
const KERNEL_SHARE: Metric = { id: "kernel_share", unit: "%" };
/** Operations and bytes per second, computed from the kernel's shape. */
const KERNEL_RATE: Metric = { id: "kernel_rate", unit: "GFLOPS" };
const KERNEL_BANDWIDTH: Metric = { id: "kernel_bandwidth", unit: "GB/s" };
/** The kernel's rate as a share of the limit that it comes closer to. */
const KERNEL_LIMIT_SHARE: Metric = { id: "kernel_limit_share", unit: "%" };
/** Mean time of a call, in decode steps or in steps of a prompt. */
const KERNEL_CALL: Metric = { id: "kernel_each", unit: "us" };
/** Time of the kernels in an untimed decode step. */
const KERNELS_OF_STEP: Metric = { id: "kernels_of_step", unit: "ms" };
/** Time that timing adds to a kernel. */
const TIMING_OVERHEAD: Metric = { id: "timing_overhead", unit: "us" };

/** The reason that is given if no cycle of timed steps is complete. */
export const TOO_FEW = `at least ${CYCLE_SUBMITS} decode submits are needed (raise --max-tokens)`;

interface KernelSum extends Cost {
  readonly calls: number;
  readonly milliseconds: number;
  readonly counted: boolean;
}

/**
 * Adds the tables. Returns the kernels' share of a decode step, which takes `step` ms; undefined if
 * it was not measured or the measurement failed.
 */
export function kernelTables(
  harness: Harness,
  timed: KernelSteps,
  step: number,
): number | undefined {
  const table = harness.table(
    "Kernels of the decode steps",
    "Kernel | Calls | Total (ms) | Per call (µs) | % | GFLOPS | GB/s | % of limit",
  );
  const all = timed.steps.flat();
  const steps = all.filter(({ host }) => decodesAll(host, 1));
  if (steps.length === 0) {
    table.note("Not measured: the adapter has no timestamp queries.");
    return undefined;
  }
  const sums = sumKernels(steps, costOfDecode(harness));
  for (const [kernel, sum, share] of byTime(sums)) {
    const at = harness.at({ kernel });
    const { calls, milliseconds, counted } = sum;
    table.row(
      kernel,
      at.value(KERNEL_CALLS, calls),
      at.value(KERNEL_TIME, milliseconds),
      at.value(KERNEL_CALL, 1000 * milliseconds / calls),
      at.value(KERNEL_SHARE, share),
      ...rates(at, harness.report.limits, { cost: counted ? sum : undefined, milliseconds }),
    );
  }
  const { share, sentence } = shareOfStep(harness, timed, { steps, step });
  table.note(
    sentence,
    `Totals are for ${steps.length} ${
      plural(steps.length, "step")
    }. Bytes and operations are computed from the shapes; above 100 % of the bandwidth, caches helped.`,
  );
  prefillTable(harness, all.filter(({ host }) => host.tokens > host.sequences));
  return share;
}

function prefillTable(harness: Harness, steps: readonly KernelStep[]): void {
  const table = harness.table(
    "Kernels of the prompt",
    "Kernel | Calls | Total (ms) | Per call (µs) | % | GFLOPS | GB/s | % of limit",
  );
  for (const [kernel, sum, share] of byTime(sumKernels(steps, costOfPrompt(harness)))) {
    const { calls, milliseconds, counted } = sum;
    const at = harness.at({ kernel, phase: "prefill" });
    table.row(
      kernel,
      at.value(KERNEL_CALLS, calls),
      at.value(KERNEL_TIME, milliseconds),
      at.value(KERNEL_CALL, 1000 * milliseconds / calls),
      at.value(KERNEL_SHARE, share),
      ...rates(at, harness.report.limits, { cost: counted ? sum : undefined, milliseconds }),
    );
  }
  table.note(
    `Totals are for ${steps.length} ${
      plural(steps.length, "step")
    } in which ${harness.runOptions.promptTokens} ${
      plural(harness.runOptions.promptTokens, "token")
    } of a prompt were processed, with each kernel timed.`,
  );
}

/** The kernels with their share of the total time in %, the longest first. */
function byTime(sums: ReadonlyMap<string, KernelSum>): [string, KernelSum, number][] {
  const total = [...sums.values()].reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return [...sums].sort(([, a], [, b]) => b.milliseconds - a.milliseconds)
    .map(([kernel, sum]) => [kernel, sum, 100 * sum.milliseconds / total]);
}

/**
 * Beyond this share, the clocks of device and host disagree by more than a noisy machine explains.
 */
const MOST_SHARE = 1.1;

function shareOfStep(
  harness: Harness,
  timed: KernelSteps,
  { steps, step }: { readonly steps: readonly KernelStep[]; readonly step: number },
): { share: number | undefined; sentence: string } {
  const { overhead, shares } = timed;
  if (overhead === undefined) {
    const kernels = medianOf(steps.map(({ kernels }) => sumOf(kernels)));
    return {
      share: undefined,
      sentence: `Kernels timed one by one take ${
        kernels.toFixed(3)
      } ms of a decode step, including the overhead of timing. This overhead and their share of an untimed step are not known: ${TOO_FEW}.`,
    };
  }
  const at = harness.at();
  const share = at.measure(KERNELS_SHARE, shares.map((one) => 100 * one)).value / 100;
  const added = at.value(TIMING_OVERHEAD, 1000 * overhead);
  const ofStep = `${(100 * share).toFixed(0)} % of a decode step`;
  if (share > MOST_SHARE) {
    return {
      share: undefined,
      sentence:
        `**The measurement failed: by the device's clock, kernels take ${ofStep} as timed by the host.** Measure again on a quiet machine.`,
    };
  }
  const kernels = at.value(KERNELS_OF_STEP, share * step);
  const about = share > 1 ? " (all of it, within the noise)" : "";
  return {
    share,
    sentence: `Kernels take ${kernels.value.toFixed(3)} ms, ${ofStep} of ${
      step.toFixed(3)
    } ms${about}. This is their share of untimed steps, computed from neighbouring steps that were timed kernel by kernel or as a whole: the median over repetitions. Timing a kernel adds ${
      added.value.toFixed(1)
    } µs to it, which is subtracted.`,
  };
}

/** Returns the cost of all calls of a kernel in a step; undefined if it is not counted. */
type CostOf = (name: string, step: KernelStep) => Cost | undefined;

function costOfPrompt({ target, runOptions: { promptTokens } }: Harness): CostOf {
  return (name, { index, host: { tokens } }) => {
    const start = index * target.limits.maxBatchTokens;
    return promptCost(target, name, { start, tokens, last: start + tokens >= promptTokens });
  };
}

function costOfDecode(harness: Harness): CostOf {
  const { promptTokens } = harness.runOptions;
  const prefillSteps = Math.ceil(promptTokens / harness.target.limits.maxBatchTokens);
  return (name, { index }) => decodeCost(harness.target, name, promptTokens + index - prefillSteps);
}

function sumKernels(
  steps: readonly KernelStep[],
  costOf: CostOf,
): Map<string, KernelSum> {
  const none = { calls: 0, milliseconds: 0, operations: 0, bytes: 0, counted: false };
  const sums = new Map<string, KernelSum>();
  for (const step of steps) {
    const { kernels } = step;
    for (const [name, own] of Map.groupBy(kernels, (kernel) => kernel.name)) {
      const cost = costOf(name, step);
      const sum = sums.get(name) ?? none;
      sums.set(name, {
        calls: sum.calls + own.length,
        milliseconds: sum.milliseconds + sumOf(own),
        operations: sum.operations + (cost?.operations ?? 0),
        bytes: sum.bytes + (cost?.bytes ?? 0),
        counted: cost !== undefined,
      });
    }
  }
  return sums;
}

/** Records GFLOPS, GB/s and % of the closer limit of a kernel with this cost and time. */
export function rates(
  at: Recording,
  limits: Limits | null,
  { cost, milliseconds }: { readonly cost: Cost | undefined; readonly milliseconds: number },
): (Result | string)[] {
  if (cost === undefined || milliseconds === 0) return ["-", "-", "-"];
  const gflops = cost.operations / (milliseconds * 1e6);
  const gigabytes = cost.bytes / (milliseconds * 1e6);
  return [
    at.value(KERNEL_RATE, gflops),
    at.value(KERNEL_BANDWIDTH, gigabytes),
    limits === null ? "-" : at.value(
      KERNEL_LIMIT_SHARE,
      100 * Math.max(gflops / limits.flops, gigabytes / limits.bandwidth),
    ),
  ];
}
