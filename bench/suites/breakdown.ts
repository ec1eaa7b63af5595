/** Where a request's time goes: phases, kernels, overheads, and which of them to work on. */

import { type Harness, type Suite } from "../harness/harness.ts";
import { type KernelStep, type KernelSteps, kernelSteps, sumOf } from "../harness/kernel_steps.ts";
import { decodeRate, decodesAll, decodeStepTimes, endToEnd, ttft } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import {
  bars,
  COMPILE_TIME,
  DECODE_THROUGHPUT,
  DISPATCH_OVERHEAD,
  type Metric,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { medianOf, summarize } from "../report/stats.ts";
import type { HostStep, Serving } from "../targets/target.ts";
import { bottleneck, stepCosts, type StepFacts } from "./bottleneck.ts";
import { KERNEL_TIME, kernelTable, TOO_FEW } from "./kernel_table.ts";

/** Of one request, and its part of their sum. */
const OPERATION_TIME: Metric = { id: "operation_time", unit: "ms" };
const OPERATION_SHARE: Metric = { id: "operation_share", unit: "%" };
/** From the start of the process until the command ran. */
const STARTUP: Metric = { id: "startup", unit: "ms" };
/** From the open file to a model that is ready. */
const MODEL_LOAD_TIME: Metric = { id: "model_load_time", unit: "s" };
const MODEL_LOAD_RATE: Metric = { id: "model_load_rate", unit: "GB/s" };
const COPIED_BYTES: Metric = { id: "copied_bytes", unit: "bytes" };
const UPLOAD_RATE: Metric = { id: "upload_rate", unit: "GB/s" };
const DISPATCHES_PER_TOKEN: Metric = { id: "dispatches_per_token", unit: "" };
/** What the host takes to prepare and submit a decode step. */
const HOST_TIME: Metric = { id: "host_time_per_token", unit: "ms" };
const IDLE_TIME: Metric = { id: "idle_time_per_token", unit: "ms" };
/** The host's mean decode step, by what it did. */
const HOST_PHASE: Metric = { id: "host_phase", unit: "ms" };
/** What a decode step needs at least for a reason, and that part of the step. */
const STEP_COST: Metric = { id: "step_cost", unit: "ms" };
const STEP_COST_SHARE: Metric = { id: "step_cost_share", unit: "%" };

const SAMPLING = /^(sample_|logit_adjust)/;

export const breakdown: Suite = {
  name: "breakdown",
  summary: "where the time goes, and what to work on",
  needs: ({ promptTokens, maxTokens }) => ({ sequences: 1, tokens: promptTokens + maxTokens }),
  async run(harness) {
    const requests = harness.requests(harness.prompts(1));
    harness.step("first request");
    const cold = await harness.serve(requests);
    const [runs = [], profiled = []] = await harness.interleave(
      harness.target.hasTimestamps ? [false, true] : [false],
      () => "request",
      (profile) => harness.serve(requests, { profile }),
    );
    const timed = kernelSteps(profiled);
    await operations(harness, runs, timed);
    kernelTable(harness, timed);
    overheads(harness, { cold, runs, timed });
  },
  charts: [
    bars("Operations of one request", OPERATION_TIME, { by: "operation" }),
    bars("Kernels of the decode steps, all calls", KERNEL_TIME, { by: "kernel" }),
  ],
};

async function operations(
  harness: Harness,
  runs: readonly Serving[],
  timed: KernelSteps,
): Promise<void> {
  const { target, runOptions: { maxTokens } } = harness;
  const served = runs.map((serving) => serving.requests[0]!);
  const prompt = target.text.decode(harness.prompts(1)[0]!, false);
  const [tokenization = [], detokenization = []] = await harness.interleave(
    [
      () => void target.text.encode(prompt),
      () => {
        const stream = target.text.stream();
        for (const id of served[0]!.ids) stream.push(id);
        stream.flush();
      },
    ],
    () => "tokenizer",
    (work) => {
      const start = target.now();
      work();
      return target.now() - start;
    },
  );
  const sampled = timed.steps.map((steps) => maxTokens * samplingTime(steps));
  const sampling = sampled.length > 0 ? medianOf(sampled) : 0;
  const samplingOf = (tokens: number) => sampling * tokens / maxTokens;
  const samples: readonly (readonly [string, readonly number[]])[] = [
    ["Decode forward", served.map((s) => endToEnd(s) - ttft(s) - samplingOf(maxTokens - 1))],
    ["Prefill", served.map((s) => ttft(s) - samplingOf(1))],
    ...(sampled.length > 0 ? [["Sampling", sampled] as const] : []),
    ["Tokenization", tokenization],
    ["Detokenization", detokenization],
  ];
  const rows = samples.map(([operation, samples]) => {
    const at = harness.at({ operation: operation.toLowerCase() });
    return { operation, at, time: at.measure(OPERATION_TIME, samples) };
  });
  const total = rows.reduce((sum, { time }) => sum + time.value, 0);
  const table = harness.table("Operations of one request", "Operation | Median (ms) | % of Total");
  for (const { operation, at, time } of rows) {
    table.row(operation, time, at.value(OPERATION_SHARE, 100 * time.value / total));
  }
  const rate = harness.at().value(DECODE_THROUGHPUT, medianOf(served.map(decodeRate)));
  table.note(
    `**Decode throughput: ${text(rate)}**`,
    sampled.length > 0
      ? "Sampling is its kernels' time by the device's clock, taken off prefill and decode."
      : "Sampling is part of prefill and decode: the adapter has no timestamps to tell it apart.",
  );
}

/** ms of choosing one token, on average. */
function samplingTime(steps: readonly KernelStep[]): number {
  const times = steps.map(({ kernels }) => kernels.filter(({ name }) => SAMPLING.test(name)))
    .filter((kernels) => kernels.length > 0).map(sumOf);
  return summarize(times).mean;
}

function overheads(
  harness: Harness,
  { cold, runs, timed }: {
    readonly cold: Serving;
    readonly runs: readonly Serving[];
    readonly timed: KernelSteps;
  },
): void {
  const { target, report: { limits, environment: { model } } } = harness;
  const table = harness.table("Overheads", "Overhead | Value");
  const at = harness.at();
  table.row("Startup", at.value(STARTUP, target.startup));
  table.row("Model load", at.value(MODEL_LOAD_TIME, target.loadTime / 1000));
  const loadRate = model.tensorBytes / (target.loadTime * 1e6);
  table.row("Model load rate", at.value(MODEL_LOAD_RATE, loadRate));
  const compile = ttft(cold.requests[0]!) - medianOf(runs.map((run) => ttft(run.requests[0]!)));
  table.row(
    "Pipeline compile (first TTFT over the later ones)",
    compile > 0 ? at.value(COMPILE_TIME, compile) : "none: the first was as fast",
  );
  table.row(
    "Host-to-device copies at load",
    limits === null
      ? "none: the CPU reads what was loaded"
      : at.value(COPIED_BYTES, model.deviceBytes),
  );
  if (limits !== null) {
    table.row("Host-to-device rate (probe)", at.value(UPLOAD_RATE, limits.upload));
  }
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
  const host = at.measure(HOST_TIME, runs.map(hostTime));
  table.row("Host time per token", host);
  const step = medianOf(runs.flatMap((serving) => decodeStepTimes(serving, 1)));
  table.row("Idle GPU time per token", idle(harness, step, timed));
  table.note(hostPhases(harness, runs));
  if (limits !== null) {
    const chained = medianOf(runs.flatMap(decodes).map((one) => one.chained));
    const share = timed.medianShare()?.share;
    const facts = { limits, step, chained, dispatches, host: host.value, share };
    table.note(costsOf(harness, facts));
  }
}

function idle(harness: Harness, step: number, timed: KernelSteps): Result | string {
  if (timed.steps.length === 0) return "not measured: no timestamps";
  const median = timed.medianShare();
  if (median === undefined) return `not known: ${TOO_FEW}`;
  return median.share < 1
    ? harness.at().value(IDLE_TIME, step * (1 - median.share))
    : "none: the kernels take the whole step";
}

/** Records what a step costs, and names the bottleneck. */
function costsOf(harness: Harness, facts: StepFacts): string {
  const costs = stepCosts(facts);
  for (const { name, milliseconds } of costs) {
    const at = harness.at({ cost: name });
    at.value(STEP_COST, milliseconds);
    at.value(STEP_COST_SHARE, 100 * milliseconds / facts.step);
  }
  return bottleneck(facts, costs);
}

/** ms that the host took to prepare and submit a decode step. */
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

/** What the host did between the readings of decode steps, on average: its phases add up. */
function hostPhases(harness: Harness, runs: readonly Serving[]): string {
  let [count, span, submits, reads] = [0, 0, 0, 0];
  for (const { steps } of runs) {
    const first = steps.findIndex((step, i) => i > 0 && decodesAll(step, 1));
    const begin = steps[first - 1]!.readEnd;
    span += steps.at(-1)!.readEnd - begin;
    for (const step of steps.slice(first)) {
      count += step.chained;
      reads += step.readEnd - step.readStart;
      if (step.submitStart >= begin) submits += step.submitEnd - step.submitStart;
    }
  }
  const each = (phase: string, ms: number) =>
    `${harness.at({ phase }).value(HOST_PHASE, ms / count).value.toFixed(3)} ms`;
  return `The host's mean decode step of ${(span / count).toFixed(3)} ms: ` +
    `${each("submit", submits)} to prepare and submit, ${each("read", reads)} to wait and read, ` +
    `${each("other", span - submits - reads)} for scheduler and reader.`;
}
