/** The time of a request outside its kernels (loading, the host, copies), and the bottlenecks. */

import type { Harness } from "../harness/harness.ts";
import type { KernelSteps } from "../harness/kernel_steps.ts";
import { decodesAll, ttft } from "../harness/timings.ts";
import {
  COMPILE_TIME,
  DISPATCH_OVERHEAD,
  LOAD_RATE,
  LOAD_TIME,
  type Metric,
  STARTUP,
} from "../report/metrics.ts";
import type { TableWriter } from "../harness/recorder.ts";
import type { Limits } from "../report/report.ts";
import { medianOf } from "../report/stats.ts";
import type { HostStep, Serving } from "../targets/target.ts";
import { TOO_FEW } from "./kernel_table.ts";
import { bottleneck, findings, stepCosts } from "./bottleneck.ts";

const COPIED_BYTES: Metric = { id: "copied_bytes", unit: "bytes" };
/** Bytes copied in a decode step, to the device or to the host. */
const STEP_COPIES: Metric = { id: "step_copies", unit: "bytes" };
const UPLOAD_RATE: Metric = { id: "upload_rate", unit: "GB/s" };
const DISPATCHES_PER_TOKEN: Metric = { id: "dispatches_per_token", unit: "" };
/** Host time to prepare and submit a decode step. */
const HOST_TIME: Metric = { id: "host_time_per_token", unit: "ms" };
const IDLE_TIME: Metric = { id: "idle_time_per_token", unit: "ms" };
/** Minimum time of a decode step for one reason, and its share of the step. */
const STEP_COST: Metric = { id: "step_cost", unit: "ms" };
const STEP_COST_SHARE: Metric = { id: "step_cost_share", unit: "%" };
/** Upper bound of the speedup of a step without what the setting names. */
const POSSIBLE_GAIN: Metric = { id: "possible_gain", unit: "x" };

export interface OverheadRuns {
  /** The very first request; undefined if the kernels were compiled before it. */
  readonly cold: Serving | undefined;
  readonly runs: readonly Serving[];
  readonly timed: KernelSteps;
  /** ms of a decode step. */
  readonly step: number;
  /** The kernels' share of a decode step; undefined if it was not measured. */
  readonly share: number | undefined;
}

/** Adds the tables. */
export async function overheads(harness: Harness, measured: OverheadRuns): Promise<void> {
  const { runs, timed, step, share } = measured;
  const { report: { limits } } = harness;
  const table = harness.table("Overheads", "Overhead | Value");
  const at = harness.at();
  loading(harness, table, measured);
  const counts = timed.steps.flat().filter(({ host }) => decodesAll(host, 1))
    .map(({ kernels }) => kernels.length);
  const dispatches = counts.length === 0 ? undefined : medianOf(counts);
  table.row(
    "Dispatches per token",
    dispatches === undefined
      ? "not counted: no timestamps"
      : at.value(DISPATCHES_PER_TOKEN, dispatches),
  );
  if (limits !== null) {
    const overhead = at.value(DISPATCH_OVERHEAD, limits.dispatch);
    table.row("Kernel overhead (probe), per kernel", overhead);
  }
  await copies(harness, table);
  const host = at.measure(HOST_TIME, runs.map(hostTime));
  table.row("Host time per token", host);
  table.row(
    "Idle GPU time per token",
    share === undefined ? noShare(timed) : at.value(IDLE_TIME, step * (1 - Math.min(share, 1))),
  );
  const chained = medianOf(runs.flatMap(decodes).map((one) => one.chained));
  table.note(
    `A decode step is the TPOT, ${step.toFixed(3)} ms. Idle: the part in which no kernel runs. ` +
      "Host time: preparing a step, possibly while the device still runs the previous one.",
  );
  if (limits !== null) {
    costs(harness, { limits, step, chained, dispatches, host: host.value, share });
  }
}

/** Why the kernels' share of a step is not known. */
function noShare({ steps, overhead }: KernelSteps): string {
  if (steps.length === 0) return "not measured: no timestamps";
  return overhead === undefined
    ? `not known: ${TOO_FEW}`
    : "not known: the measurement of the kernels' share failed";
}

function loading(harness: Harness, table: TableWriter, { cold, runs }: OverheadRuns): void {
  const { target, report: { limits, environment: { device, model } } } = harness;
  const at = harness.at();
  const { startup: { milliseconds, since }, loadTimes } = target;
  table.row(
    `Startup (${
      since === "launcher" ? "from the launcher's first line" : "from the start of the process"
    })`,
    at.value(STARTUP, milliseconds),
  );
  const whole = Object.values(loadTimes).reduce((a, b) => a + b);
  table.row("Model load", at.value(LOAD_TIME, whole));
  const parts = {
    config: "checking the file",
    tokenizer: "tokenizer",
    device: "opening the device",
    kernels: "compiling kernels",
    weights: "reading and uploading weights",
  } as const;
  for (const [part, what] of Object.entries(parts) as [keyof typeof parts, string][]) {
    table.row(`- ${what}`, harness.at({ part }).value(LOAD_TIME, loadTimes[part]));
  }
  const rate = model.tensorBytes / (loadTimes.weights * 1e6);
  table.row("Weight load rate", at.value(LOAD_RATE, rate));
  if (cold !== undefined) {
    const compile = ttft(cold.requests[0]!) -
      medianOf(runs.map((run) => ttft(run.requests[0]!)));
    table.row(
      "Pipeline compile (first TTFT minus the later ones)",
      compile > 0 ? at.value(COMPILE_TIME, compile) : "none: the first request was as fast",
    );
  } else {
    table.row("Pipeline compile", "not known: the kernels were already compiled");
  }
  table.row(
    "Host-to-device copies at load",
    device.kind === "cpu"
      ? "none: the CPU uses the loaded weights directly"
      : at.value(COPIED_BYTES, model.deviceBytes),
  );
  if (limits !== null) {
    table.row("Host-to-device rate (probe)", at.value(UPLOAD_RATE, limits.upload));
  }
}

/**
 * Adds rows for the bytes copied per step: the difference of a long and a short answer, divided by
 * the difference of their lengths.
 */
async function copies(harness: Harness, table: TableWriter): Promise<void> {
  const { target, runOptions: { maxTokens } } = harness;
  const [prompt] = harness.prompts(1);
  const copied = async (tokens: number) => {
    const before = target.copied;
    await harness.serve(harness.requests([prompt!], tokens));
    return {
      toDevice: target.copied.toDevice - before.toDevice,
      toHost: target.copied.toHost - before.toHost,
    };
  };
  if (harness.report.environment.device.kind === "cpu" || maxTokens < 3) return;
  harness.step("copies of a step");
  const [few, many] = [await copied(2), await copied(maxTokens)];
  for (
    const [way, direction] of [["toDevice", "to the device"], ["toHost", "to the host"]] as const
  ) {
    const each = (many[way] - few[way]) / (maxTokens - 2);
    table.row(
      `Copies of a step, ${direction}`,
      harness.at({ direction }).value(STEP_COPIES, each),
    );
  }
}

/** ms that the host takes to prepare and submit a decode step. */
function hostTime(serving: Serving): number {
  return medianOf(
    decodes(serving).map(({ submitStart, submitEnd, chained }) =>
      (submitEnd - submitStart) / chained
    ),
  );
}

function decodes({ steps }: Serving): HostStep[] {
  return steps.filter((step) => decodesAll(step, 1));
}

/** Records the costs of a step, and adds the table of bottlenecks. */
function costs(
  harness: Harness,
  facts: Parameters<typeof stepCosts>[0] & { limits: Limits },
): void {
  const all = stepCosts(facts);
  for (const { name, milliseconds } of all) {
    const at = harness.at({ cost: name });
    at.value(STEP_COST, milliseconds);
    at.value(STEP_COST_SHARE, 100 * milliseconds / facts.step);
  }
  const found = findings(facts, all);
  const table = harness.table("Findings", "Finding | What | Evidence | Maximum gain");
  for (const [i, { what, evidence, gain }] of found.entries()) {
    const rank = i === 0 ? "Primary bottleneck" : "Secondary bottleneck";
    table.row(
      rank,
      what,
      evidence,
      gain === undefined
        ? "not known"
        : harness.at({ without: `${rank.split(" ")[0]!.toLowerCase()}: ${what}` })
          .value(POSSIBLE_GAIN, gain),
    );
  }
  table.note(
    bottleneck(facts, all, found),
    "Maximum gain: how many times as fast a decode step would be without this cost. Computed from the figures of this run; work that overlaps with the cost is assumed to take as long as before.",
  );
}
