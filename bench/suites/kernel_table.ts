/** The kernels of the decode steps: how long, and how near to what the device can do. */

import type { Harness } from "../harness/harness.ts";
import { type KernelStep, type KernelSteps, sumOf } from "../harness/kernel_steps.ts";
import type { Recording } from "../harness/recorder.ts";
import { decodesAll } from "../harness/timings.ts";
import { decodeCost } from "../kernels/costs.ts";
import type { Cost } from "../kernels/kernel_bench.ts";
import { KERNELS_SHARE, type Metric } from "../report/metrics.ts";
import type { Limits, Result } from "../report/report.ts";
import { medianOf } from "../report/stats.ts";
import { CYCLE_SUBMITS } from "../targets/timed_runner.ts";

/** Of all decode steps whose kernels were timed each. */
const KERNEL_CALLS: Metric = { id: "kernel_calls", unit: "" };
export const KERNEL_TIME: Metric = { id: "kernel_time", unit: "ms" };
/** A kernel's part of the time of all. */
const KERNEL_SHARE: Metric = { id: "kernel_share", unit: "%" };
/** Operations and bytes that a kernel's shape calls for, per second. */
const KERNEL_RATE: Metric = { id: "kernel_rate", unit: "GFLOPS" };
const KERNEL_BANDWIDTH: Metric = { id: "kernel_bandwidth", unit: "GB/s" };
/** What a kernel reaches of the nearer limit. */
const KERNEL_LIMIT_SHARE: Metric = { id: "kernel_limit_share", unit: "%" };
/** Kernels of a decode step that is not timed, and that step. */
const KERNELS_OF_STEP: Metric = { id: "kernels_of_step", unit: "ms" };
const UNTIMED_STEP: Metric = { id: "untimed_step", unit: "ms" };
/** What timing adds to a kernel. */
const TIMING_OVERHEAD: Metric = { id: "timing_overhead", unit: "us" };

/** Why no cycle of steps is complete. */
export const TOO_FEW =
  `it takes ${CYCLE_SUBMITS} submits that decode; a larger --max-tokens gives them`;

interface KernelSum extends Cost {
  readonly calls: number;
  readonly milliseconds: number;
  readonly counted: boolean;
}

/** Adds the table. */
export function kernelTable(harness: Harness, timed: KernelSteps): void {
  const table = harness.table(
    "Kernels of the decode steps",
    "Kernel | Calls | Total (ms) | % | GFLOPS | GB/s | % of limit",
  );
  const steps = timed.steps.flat().filter(({ host }) => decodesAll(host, 1));
  if (steps.length === 0) {
    table.note("Not measured: the adapter has no timestamp queries.");
    return;
  }
  const sums = sumKernels(harness, steps);
  const total = [...sums.values()].reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const byTime = [...sums].sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
  for (const [kernel, sum] of byTime) {
    const at = harness.at({ kernel });
    const { calls, milliseconds, counted } = sum;
    table.row(
      kernel,
      at.value(KERNEL_CALLS, calls),
      at.value(KERNEL_TIME, milliseconds),
      at.value(KERNEL_SHARE, 100 * milliseconds / total),
      ...rates(at, harness.report.limits, { cost: counted ? sum : undefined, milliseconds }),
    );
  }
  table.note(
    shareOfStep(harness, timed, steps),
    `Totals are of ${steps.length} steps. Bytes and operations are those that the shapes call for; above 100 % of the bandwidth, caches helped.`,
  );
}

function shareOfStep(harness: Harness, timed: KernelSteps, steps: readonly KernelStep[]): string {
  const { overhead } = timed;
  const median = timed.medianShare();
  if (median === undefined || overhead === undefined) {
    const kernels = medianOf(steps.map(({ kernels }) => sumOf(kernels)));
    return `Kernels timed one by one take ${
      kernels.toFixed(3)
    } ms of a decode step. What timing adds to each is not known and not taken off, nor is their share known of a step that is not timed: ${TOO_FEW}.`;
  }
  const at = harness.at();
  const kernels = at.value(KERNELS_OF_STEP, median.kernels);
  const step = at.value(UNTIMED_STEP, median.step);
  const share = at.value(KERNELS_SHARE, 100 * median.share);
  const added = at.value(TIMING_OVERHEAD, 1000 * overhead);
  return `Kernels take ${kernels.value.toFixed(3)} ms of a decode step of ${
    step.value.toFixed(3)
  } ms that is not timed, ${
    share.value.toFixed(0)
  } %: of all fours of steps (one timed kernel by kernel, two not, one as a whole) those with the median share. Timing each kernel adds ${
    added.value.toFixed(1)
  } µs to it, which is taken off.`;
}

function sumKernels(harness: Harness, steps: readonly KernelStep[]): Map<string, KernelSum> {
  const { promptTokens } = harness.runOptions;
  const prefillSteps = Math.ceil(promptTokens / harness.target.limits.maxBatchTokens);
  const none = { calls: 0, milliseconds: 0, operations: 0, bytes: 0, counted: false };
  const sums = new Map<string, KernelSum>();
  for (const { kernels, index } of steps) {
    for (const [name, own] of Map.groupBy(kernels, (kernel) => kernel.name)) {
      const cost = decodeCost(harness.target, name, promptTokens + index - prefillSteps);
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

/** GFLOPS, GB/s and % of the nearer limit of what took so long. */
export function rates(
  at: Recording,
  limits: Limits | null,
  { cost, milliseconds }: { readonly cost: Cost | undefined; readonly milliseconds: number },
): (Result | string)[] {
  if (cost === undefined || milliseconds === 0) return ["-", "-", "-"];
  const gflops = cost.operations / (milliseconds * 1e6);
  const gigabytes = cost.bytes / (milliseconds * 1e6);
  return [
    at.value(KERNEL_RATE, gflops, limits?.flops),
    at.value(KERNEL_BANDWIDTH, gigabytes),
    limits === null ? "-" : at.value(
      KERNEL_LIMIT_SHARE,
      100 * Math.max(gflops / limits.flops, gigabytes / limits.bandwidth),
    ),
  ];
}
