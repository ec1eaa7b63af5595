/** Six requests from a short question to a long story, alone on the device. */

import { linearRegression } from "simple-statistics";
import type { Bench } from "../harness/harness.ts";
import { type Cell, measured, type Quantity, value } from "../report/report.ts";
import { kernelSteps } from "../kernels/steps.ts";
import { summarize } from "../harness/stats.ts";
import { bufferBytes, type Served, type Serving, type Target } from "../targets/target.ts";
import { tpot, ttft } from "../harness/timings.ts";

/** Tokens of the prompt, and to decode. */
const SCENARIOS = [
  { id: "S1", prompt: 16, decode: 32 },
  { id: "S2", prompt: 64, decode: 64 },
  { id: "S3", prompt: 256, decode: 128 },
  { id: "S4", prompt: 512, decode: 256 },
  { id: "S5", prompt: 1024, decode: 128 },
  { id: "S6", prompt: 64, decode: 512 },
] as const;

type Scenario = typeof SCENARIOS[number];

/** Steps of S6 whose speed is one row. */
const BUCKET = 32;

/** ms to the first token, and tokens a second, a sample a run. */
interface Samples {
  readonly ttft: readonly number[];
  readonly decode: readonly number[];
  readonly prefill: readonly number[];
}

const COLUMNS = [
  "ID",
  "Prompt",
  "Decode",
  ["TTFT (ms)", "ms"],
  ["Decode TPS", "tok/s"],
  ["Prefill TPS", "tok/s"],
] as const;

export async function scenarios(bench: Bench): Promise<void> {
  const { target } = bench;
  const table = bench.table("Scenarios", COLUMNS);
  const able = SCENARIOS.filter(({ prompt, decode }) => bench.fits(prompt, decode));
  bench.step("first request");
  const compiled = target.hasServed;
  const cold = await target.serve(requestOf(bench, SCENARIOS[0]));
  const own = new Map<Scenario, Samples>();
  let last: readonly Serving[] = [];
  for (const scenario of able) {
    const { id, prompt, decode } = scenario;
    const runs = await bench.repeat(id, requestOf(bench, scenario));
    if (id === "S6") last = runs;
    const samples = samplesOf(runs, prompt);
    own.set(scenario, samples);
    table.row(
      id,
      value(prompt, ""),
      value(decode, ""),
      bench.measure(`${id}, TTFT`, samples.ttft, "ms"),
      bench.measure(`${id}, decode`, samples.decode, "tok/s", bench.limit(1, prompt, decode)),
      bench.measure(`${id}, prefill`, samples.prefill, "tok/s", bench.prefillLimit(prompt)),
    );
  }
  const left = SCENARIOS.filter((scenario) => !own.has(scenario)).map(({ id }) => id);
  if (left.length > 0) {
    const { contextLength } = bench.report.environment.model;
    table.say(`Left out, as the context has ${contextLength} tokens: ${left.join(", ")}.`);
  }
  await metrics(bench, compiled ? undefined : cold, own);
  if (last.length > 0) bySteps(bench, last);
  if (bench.hooks.baseline) await against(bench, await bench.hooks.baseline(), own);
}

function requestOf(bench: Bench, { prompt, decode }: Scenario) {
  return bench.requests(bench.prompts(1, prompt), decode);
}

function samplesOf(runs: readonly Serving[], promptTokens: number): Samples {
  const served = runs.map(({ requests }) => requests[0]!);
  const of = (measure: (one: Served) => number) => served.map(measure);
  return {
    ttft: of(ttft),
    decode: of((one) => 1000 / tpot(one)),
    prefill: of((one) => 1000 * promptTokens / ttft(one)),
  };
}

async function metrics(
  bench: Bench,
  cold: Serving | undefined,
  own: ReadonlyMap<Scenario, Samples>,
): Promise<void> {
  const { target, report: { limits } } = bench;
  const memory = target.memory();
  const buffers = bufferBytes(memory);
  const table = bench.table("Metrics", ["Metric", "Value"]);
  table.row("Compile time (first TTFT over the later ones)", compileTime(cold, own));
  table.row("Weight load time", value(target.loadTime, "ms"));
  table.row("Peak memory", value(buffers ?? memory.peakRss, "bytes"));
  table.row("Prefill scaling (ms/token)", prefillScaling(own));
  const variations = [...own.values()].map(({ decode }) => {
    const { mean, stddev } = summarize(decode);
    return 100 * stddev / mean;
  });
  table.row(
    "Decode TPS CV",
    bench.run.repetitions < 2 ? "not known of one run" : value(summarize(variations).mean, "%"),
  );
  table.row("GPU utilization", await utilization(bench));
  table.row(
    "Kernel overhead (us/kernel)",
    limits === null ? "not measured: there is no device" : value(limits.dispatch, "us"),
  );
  table.say(
    `Peak memory: ${buffers === undefined ? "of the process" : "of the buffers on the device"}. ` +
      "Prefill scaling: the slope of the TTFT over the prompt's length. The CV is the mean of the scenarios'. GPU utilization: the kernels' share of a decode step. The overhead is the probe's.",
  );
}

function compileTime(cold: Serving | undefined, own: ReadonlyMap<Scenario, Samples>): Cell {
  if (cold === undefined) return "not known: the kernels were compiled before";
  const [first] = own.values();
  if (first === undefined) return "not known: no scenario fits";
  const compile = ttft(cold.requests[0]!) - summarize(first.ttft).median;
  return compile > 0 ? value(compile, "ms") : "none: the first was as fast";
}

function prefillScaling(own: ReadonlyMap<Scenario, Samples>): Cell {
  const points = [...own].map(([{ prompt }, samples]) => [prompt, summarize(samples.ttft).median]);
  return points.length < 2
    ? "not known of one length"
    : value(linearRegression(points).m, "ms/token");
}

/** The kernels' share of the steps that decode S1. */
async function utilization(bench: Bench): Promise<Cell> {
  const requests = requestOf(bench, SCENARIOS[0]);
  const runs = bench.target.hasTimestamps
    ? await bench.repeat("utilization", requests, { profile: true })
    : [];
  const share = kernelSteps(runs).share();
  if (share === undefined) return "not measured: no timestamps";
  return share < 1 ? value(100 * share, "%") : "100%: kernels take the whole step";
}

/** How fast S6 is as its text grows. */
function bySteps(bench: Bench, runs: readonly Serving[]): void {
  const table = bench.table("Decoding of S6", ["Tokens", ["Decode TPS", "tok/s"]]);
  const times = runs.map(({ requests }) => requests[0]!.times);
  const last = times[0]!.length - 1;
  for (let start = 0; start < last; start += BUCKET) {
    const end = Math.min(start + BUCKET, last);
    const rates = times.map((own) => 1000 * (end - start) / (own[end]! - own[start]!));
    table.row(
      value(end, ""),
      bench.measureOfMany(`S6, tokens to ${end}`, rates, "tok/s"),
    );
  }
  table.say(`Of each ${BUCKET} tokens to this one, and of those left at the end.`);
}

/** The same on another backend, and how many times as fast this one is. */
async function against(
  bench: Bench,
  baseline: Target,
  own: ReadonlyMap<Scenario, Samples>,
): Promise<void> {
  const { kind } = baseline.environment.device;
  const table = bench.table(`Against the ${kind.toUpperCase()} backend`, COLUMNS);
  for (const [scenario, ours] of own) {
    const { id, prompt, decode } = scenario;
    const [runs = []] = await bench.byTurns(
      [requestOf(bench, scenario)],
      () => `${id} on the ${kind}`,
      (requests) => baseline.serve(requests),
    );
    const theirs = samplesOf(runs, prompt);
    const sizes = [value(prompt, ""), value(decode, "")];
    table.row(
      `${id} ${kind}`,
      ...sizes,
      measured(theirs.ttft, "ms"),
      measured(theirs.decode, "tok/s"),
      measured(theirs.prefill, "tok/s"),
    );
    table.row(
      `${id} ratio`,
      ...sizes,
      ratio(theirs.ttft, ours.ttft),
      ratio(ours.decode, theirs.decode),
      ratio(ours.prefill, theirs.prefill),
    );
  }
  table.say(
    `The ratio is how many times as fast as the ${kind.toUpperCase()} backend this device is.`,
  );
}

function ratio(a: readonly number[], b: readonly number[]): Quantity {
  return value(summarize(a).median / summarize(b).median, "x");
}
