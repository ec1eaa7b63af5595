/**
 * The parts of a decode step. Each is measured by itself, and together they should add up to the
 * step.
 */

import type { Harness } from "../harness/harness.ts";
import type { KernelSteps, StepParts } from "../harness/kernel_steps.ts";
import type { Metric } from "../report/metrics.ts";
import { medianOf } from "../report/stats.ts";

/** A part's share of an untimed decode step, and that share of the TPOT in ms. */
const PART_SHARE: Metric = { id: "step_part_share", unit: "%" };
const PART_TIME: Metric = { id: "step_part", unit: "ms" };
/** The sum of all parts as a share of an untimed decode step. */
const PARTS_SUM: Metric = { id: "step_parts_sum", unit: "%" };
/** The rest of the step; negative if the parts overlap or the steps differ. */
const UNACCOUNTED: Metric = { id: "unaccounted_time_per_token", unit: "ms" };

/** Adds the table if the parts are known. `step` is the time of a decode step in ms. */
export function stepParts(harness: Harness, { parts }: KernelSteps, step: number): void {
  if (parts.length === 0) return;
  const table = harness.table("Parts of a decode step", "Part | Time (ms) | % of a step");
  const onCpu = harness.report.environment.device.kind === "cpu";
  const named: readonly (readonly [Exclude<keyof StepParts, "sum">, string])[] = [
    ["kernels", onCpu ? "Kernels" : "Kernels, by the device's clock"],
    ...(onCpu ? [] : [["launch", "Handing the step to the device"] as const]),
    [
      "results",
      onCpu
        ? "Preparing the kernels, choosing the token"
        : "Starting the step, copying the token, waking the host",
    ],
    ["between", "Scheduler and consumer, until the next step"],
  ];
  for (const [part, name] of named) {
    const at = harness.at({ part });
    const share = at.measure(PART_SHARE, parts.map((one) => 100 * one[part]));
    table.row(name, at.value(PART_TIME, step * medianOf(parts.map((one) => one[part]))), share);
  }
  const at = harness.at();
  const sum = at.measure(PARTS_SUM, parts.map((one) => 100 * one.sum));
  const left = at.value(UNACCOUNTED, step * (1 - sum.value / 100));
  table.row("Unaccounted time", left, "-");
  table.row("All parts", harness.at({ part: "all" }).value(PART_TIME, step * sum.value / 100), sum);
  table.note(
    "Shares of an untimed step. The kernels, and the rest of the time until the results arrive, are measured in the next step, whose kernels are timed as a whole. So the parts sum to 100 % only if nothing is missing or counted twice. Medians over repetitions.",
  );
}
