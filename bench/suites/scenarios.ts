/** Six requests from a short question to a long story, alone on the device. */

import { linearRegression } from "simple-statistics";
import { type Harness, type Suite } from "../harness/harness.ts";
import { kernelSteps } from "../harness/kernel_steps.ts";
import { decodeRate, prefillRate, ttft } from "../harness/timings.ts";
import {
  bars,
  COMPILE_TIME,
  DECODE_THROUGHPUT,
  DISPATCH_OVERHEAD,
  KERNELS_SHARE,
  lines,
  type Metric,
  PREFILL_THROUGHPUT,
  TTFT,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { summarize } from "../report/stats.ts";
import { bufferBytes, type Serving, type Target } from "../targets/target.ts";

/** From the open file to a model that is ready. */
const WEIGHT_LOAD_TIME: Metric = { id: "weight_load_time", unit: "ms" };
const PEAK_MEMORY: Metric = { id: "peak_memory", unit: "bytes" };
/** The slope of the TTFT over the prompt's length. */
const PREFILL_SCALING: Metric = { id: "prefill_scaling", unit: "ms/token" };
/** The mean of the scenarios' coefficients of variation. */
const DECODE_CV: Metric = { id: "decode_throughput_cv", unit: "%" };
/** Decoding of the tokens before the one that its setting names. */
const STEP_THROUGHPUT: Metric = { id: "step_throughput", unit: "tok/s", detail: true };
/** How many times as fast as the baseline this device is. */
const TTFT_RATIO: Metric = { id: "ttft_ratio", unit: "x" };
const DECODE_RATIO: Metric = { id: "decode_throughput_ratio", unit: "x" };
const PREFILL_RATIO: Metric = { id: "prefill_throughput_ratio", unit: "x" };

/** Tokens of the prompt, and to decode. */
const SCENARIOS = [
  { scenario: "S1", promptTokens: 16, maxTokens: 32 },
  { scenario: "S2", promptTokens: 64, maxTokens: 64 },
  { scenario: "S3", promptTokens: 256, maxTokens: 128 },
  { scenario: "S4", promptTokens: 512, maxTokens: 256 },
  { scenario: "S5", promptTokens: 1024, maxTokens: 128 },
  { scenario: "S6", promptTokens: 64, maxTokens: 512 },
] as const;

type Scenario = typeof SCENARIOS[number];

/** Steps of S6 whose speed is one row. */
const BUCKET = 32;

/** What a scenario measured. */
interface Measured {
  readonly scenario: Scenario;
  readonly first: Result;
  readonly decode: Result;
  readonly prefill: Result;
}

const COLUMNS = "ID | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS";

export const scenarios: Suite = {
  name: "scenarios",
  summary: "what six kinds of request cost, and how the CPU compares",
  defaults: { warmup: 3, repetitions: 5 },
  options: {
    baseline: {
      value: "<device>",
      summary: "measure there too: cpu",
      parse: (text) => {
        if (text === "cpu") return text;
        throw new RangeError("Expected cpu.");
      },
    },
  },
  needs: ({ suiteOptions }) => ({
    sequences: 1,
    tokens: Math.max(...SCENARIOS.map((one) => one.promptTokens + one.maxTokens)),
    ...(suiteOptions.baseline !== undefined && { baseline: "cpu" }),
  }),
  async run(harness) {
    const { target } = harness;
    const compiled = target.hasServed;
    harness.step("first request");
    const cold = await harness.serve(requestOf(harness, SCENARIOS[0]));
    const { measured, last } = await measure(harness);
    await metrics(harness, compiled ? undefined : cold, measured);
    if (last.length > 0) bySteps(harness, last);
    if (harness.runOptions.suiteOptions.baseline !== undefined) {
      await against(harness, await harness.options.baseline!(), measured);
    }
  },
  charts: [
    lines("Time to the first token by length of the prompt", TTFT, {
      by: "promptTokens",
      series: "baseline",
      xAxis: "tokens of the prompt",
    }),
    lines("Decoding of S6 by step", STEP_THROUGHPUT, { by: "tokens", xAxis: "tokens decoded" }),
    bars("Prefill by scenario", PREFILL_THROUGHPUT, { by: "scenario", series: "baseline" }),
    bars("Decoding by scenario", DECODE_THROUGHPUT, { by: "scenario", series: "baseline" }),
  ],
};

async function measure(harness: Harness): Promise<{ measured: Measured[]; last: Serving[] }> {
  const table = harness.table("Scenarios", COLUMNS);
  const [able, left] = [true, false].map((fits) =>
    SCENARIOS.filter((one) => harness.fits(one.promptTokens, one.maxTokens) === fits)
  );
  const measured: Measured[] = [];
  let last: Serving[] = [];
  for (const scenario of able!) {
    const { scenario: id, promptTokens, maxTokens } = scenario;
    const runs = await harness.repeat(id, requestOf(harness, scenario));
    if (id === "S6") last = runs;
    const own = record(harness, scenario, { runs });
    measured.push(own);
    table.row(id, promptTokens, maxTokens, own.first, own.decode, own.prefill);
  }
  if (left!.length > 0) {
    const { contextLength } = harness.report.environment.model;
    const ids = left!.map(({ scenario }) => scenario).join(", ");
    table.note(`Left out, as the context has ${contextLength} tokens: ${ids}.`);
  }
  return { measured, last };
}

function requestOf(harness: Harness, { promptTokens, maxTokens }: Scenario) {
  return harness.requests(harness.prompts(1, promptTokens), maxTokens);
}

function record(
  harness: Harness,
  scenario: Scenario,
  { runs, baseline }: { readonly runs: readonly Serving[]; readonly baseline?: string },
): Measured {
  const { promptTokens, maxTokens } = scenario;
  const served = runs.map(({ requests }) => requests[0]!);
  const prefill = served.map((one) => prefillRate(one, promptTokens));
  const at = harness.at({ ...scenario, ...(baseline !== undefined && { baseline }) });
  // The limits are of the device that was probed.
  const [decodeLimit, prefillLimit] = baseline === undefined
    ? [harness.limit(1, promptTokens, maxTokens), harness.prefillLimit(promptTokens)]
    : [];
  return {
    scenario,
    first: at.measure(TTFT, served.map(ttft)),
    decode: at.measure(DECODE_THROUGHPUT, served.map(decodeRate), decodeLimit),
    prefill: at.measure(PREFILL_THROUGHPUT, prefill, prefillLimit),
  };
}

async function metrics(
  harness: Harness,
  cold: Serving | undefined,
  measured: readonly Measured[],
): Promise<void> {
  const { target, report: { limits } } = harness;
  const memory = target.memory();
  const buffers = bufferBytes(memory);
  const table = harness.table("Metrics", "Metric | Value");
  const at = harness.at();
  const compile = compileTime(harness, cold, measured);
  table.row("Compile time (first TTFT over the later ones)", compile);
  table.row("Weight load time", at.value(WEIGHT_LOAD_TIME, target.loadTime));
  table.row("Peak memory", at.value(PEAK_MEMORY, buffers ?? memory.peakRss));
  table.row("Prefill scaling (ms/token)", prefillScaling(harness, measured));
  table.row("Decode TPS CV", decodeVariation(harness, measured));
  table.row("GPU utilization", await utilization(harness));
  table.row(
    "Kernel overhead (us/kernel)",
    limits === null
      ? "not measured: there is no device"
      : at.value(DISPATCH_OVERHEAD, limits.dispatch),
  );
  table.note(
    `Peak memory: ${buffers === undefined ? "of the process" : "of the buffers on the device"}. ` +
      "Prefill scaling: the slope of the TTFT over the prompt's length. The CV is the mean of the scenarios'. GPU utilization: the kernels' share of a decode step. The overhead is the probe's.",
  );
}

function compileTime(
  harness: Harness,
  cold: Serving | undefined,
  [first]: readonly Measured[],
): Result | string {
  if (cold === undefined) return "not known: the kernels were compiled before";
  if (first === undefined) return "not known: no scenario fits";
  const compile = ttft(cold.requests[0]!) - first.first.value;
  return compile > 0 ? harness.at().value(COMPILE_TIME, compile) : "none: the first was as fast";
}

function prefillScaling(harness: Harness, measured: readonly Measured[]): Result | string {
  const points = measured.map(({ scenario, first }) => [scenario.promptTokens, first.value]);
  return points.length < 2
    ? "not known of one length"
    : harness.at().value(PREFILL_SCALING, linearRegression(points).m);
}

function decodeVariation(harness: Harness, measured: readonly Measured[]): Result | string {
  if (harness.runOptions.repetitions < 2) return "not known of one run";
  const variations = measured.map(({ decode }) => {
    const { mean, stddev } = summarize(decode.samples!);
    return 100 * stddev / mean;
  });
  return harness.at().value(DECODE_CV, summarize(variations).mean);
}

/** The kernels' share of the steps that decode S1. */
async function utilization(harness: Harness): Promise<Result | string> {
  const requests = requestOf(harness, SCENARIOS[0]);
  const runs = harness.target.hasTimestamps
    ? await harness.repeat("utilization", requests, { profile: true })
    : [];
  const share = kernelSteps(runs).medianShare()?.share;
  if (share === undefined) return "not measured: no timestamps";
  return share < 1
    ? harness.at().value(KERNELS_SHARE, 100 * share)
    : "100%: kernels take the whole step";
}

/** How fast S6 is as its text grows. */
function bySteps(harness: Harness, runs: readonly Serving[]): void {
  const table = harness.table("Decoding of S6", "Tokens | Decode TPS");
  const times = runs.map(({ requests }) => requests[0]!.times);
  const last = times[0]!.length - 1;
  for (let start = 0; start < last; start += BUCKET) {
    const tokens = Math.min(start + BUCKET, last);
    const rates = times.map((own) => 1000 * (tokens - start) / (own[tokens]! - own[start]!));
    table.row(tokens, harness.at({ tokens }).measure(STEP_THROUGHPUT, rates));
  }
  table.note(`Of each ${BUCKET} tokens to this one, and of those left at the end.`);
}

/** The same on another backend, and how many times as fast this one is. */
async function against(
  harness: Harness,
  target: Target,
  measured: readonly Measured[],
): Promise<void> {
  const { kind } = target.environment.device;
  const table = harness.table(`Against the ${kind.toUpperCase()} backend`, COLUMNS);
  for (const { scenario, ...ours } of measured) {
    const { scenario: id, promptTokens, maxTokens } = scenario;
    const [runs = []] = await harness.interleave(
      [scenario],
      () => `${id} on the ${kind}`,
      (scenario) =>
        target.withSession({}, (session) => session.serve(requestOf(harness, scenario))),
    );
    const theirs = record(harness, scenario, { runs, baseline: kind });
    const at = harness.at({ ...scenario, baseline: kind });
    const sizes = [promptTokens, maxTokens];
    table.row(`${id} ${kind}`, ...sizes, theirs.first, theirs.decode, theirs.prefill);
    table.row(
      `${id} ratio`,
      ...sizes,
      at.value(TTFT_RATIO, theirs.first.value / ours.first.value),
      at.value(DECODE_RATIO, ours.decode.value / theirs.decode.value),
      at.value(PREFILL_RATIO, ours.prefill.value / theirs.prefill.value),
    );
  }
  table.note(
    `The ratio is how many times as fast as the ${kind.toUpperCase()} backend this device is.`,
  );
}
