/** Where a request's time goes: phases, kernels, overheads, and which of them to work on. */

import type { Bench } from "../harness/harness.ts";
import { type Cell, type Quantity, value } from "../report/report.ts";
import { type KernelStep, type KernelSteps, kernelSteps, sumOf } from "../kernels/steps.ts";
import { summarize } from "../harness/stats.ts";
import type { HostStep, Serving } from "../targets/target.ts";
import { decodesAll, decodeStepTimes, endToEnd, tpot, ttft } from "../harness/timings.ts";
import { bottleneck } from "./bottleneck.ts";
import { kernelTable, TOO_FEW } from "./kernel_table.ts";

const SAMPLING = /^(sample_|logit_adjust)/;

export async function breakdown(bench: Bench): Promise<void> {
  const prompt = bench.prompts(1)[0]!;
  const requests = bench.requests([prompt]);
  bench.step("first request");
  const cold = await bench.target.serve(requests);
  const [runs = [], profiled = []] = await bench.repeatByTurns(
    "request",
    requests,
    bench.target.hasTimestamps ? [{}, { profile: true }] : [{}],
  );
  const timed = kernelSteps(profiled);
  await operations(bench, runs, timed);
  kernelTable(bench, timed);
  overheads(bench, cold, runs, timed);
}

function median(samples: readonly number[]): number {
  return summarize(samples).median;
}

async function operations(
  bench: Bench,
  runs: readonly Serving[],
  timed: KernelSteps,
): Promise<void> {
  const { target, run } = bench;
  const served = runs.map((serving) => serving.requests[0]!);
  const text = target.text.decode(bench.prompts(1)[0]!, false);
  const [tokenization = [], detokenization = []] = await bench.byTurns(
    [
      () => void target.text.encode(text),
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
  const sampled = timed.steps.map((steps) => run.maxTokens * samplingTime(steps));
  const sampling = sampled.length > 0 ? median(sampled) : 0;
  const share = (tokens: number) => sampling * tokens / run.maxTokens;
  const rows: (readonly [string, Quantity])[] = [
    [
      "Decode forward",
      bench.measure(
        "decode forward",
        served.map((s) => endToEnd(s) - ttft(s) - share(run.maxTokens - 1)),
        "ms",
      ),
    ],
    ["Prefill", bench.measure("prefill", served.map((s) => ttft(s) - share(1)), "ms")],
    ...(sampled.length > 0
      ? [["Sampling", bench.measure("sampling", sampled, "ms")] as const]
      : []),
    ["Tokenization", bench.measure("tokenization", tokenization, "ms")],
    ["Detokenization", bench.measure("detokenization", detokenization, "ms")],
  ];
  const total = rows.reduce((sum, [, { value }]) => sum + value, 0);
  const table = bench.table("Operations of one request", [
    "Operation",
    ["Median (ms)", "ms"],
    "% of Total",
  ]);
  for (const [name, quantity] of rows) {
    table.row(name, quantity, value(100 * quantity.value / total, "%"));
  }
  const rates = served.map((s) => 1000 / tpot(s));
  table.say(
    `**Decode throughput: ${median(rates).toFixed(1)} tok/s**`,
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
  bench: Bench,
  cold: Serving,
  runs: readonly Serving[],
  timed: KernelSteps,
): void {
  const { target } = bench;
  const { limits, environment: { model } } = bench.report;
  const served = runs.map((serving) => serving.requests[0]!);
  const table = bench.table("Overheads", ["Overhead", "Value"]);
  table.row("Startup", value(target.startup, "ms"));
  table.row("Model load", value(target.loadTime / 1000, "s"));
  table.row("Model load rate", value(model.tensorBytes / (target.loadTime * 1e6), "GB/s"));
  const compile = ttft(cold.requests[0]!) - median(served.map(ttft));
  table.row(
    "Pipeline compile (first TTFT over the later ones)",
    compile > 0 ? value(compile, "ms") : "none: the first was as fast",
  );
  table.row(
    "Host-to-device copies at load",
    limits === null ? "none: the CPU reads what was loaded" : value(model.deviceBytes, "bytes"),
  );
  if (limits !== null) table.row("Host-to-device rate (probe)", value(limits.upload, "GB/s"));
  const counts = timed.steps.flat().filter(({ host }) => decodesAll(host, 1))
    .map(({ kernels }) => kernels.length);
  const dispatches = counts.length === 0 ? undefined : median(counts);
  table.row(
    "Dispatches per token",
    dispatches === undefined ? "not counted: no timestamps" : value(dispatches, ""),
  );
  if (limits !== null) {
    table.row("Kernel overhead (probe), per kernel", value(limits.dispatch, "us"));
  }
  const host = runs.map(hostTime);
  table.row("Host time per token", bench.measure("host time per token", host, "ms"));
  const step = median(runs.flatMap((serving) => decodeStepTimes(serving, 1)));
  table.row("Idle GPU time per token", idle(step, timed));
  const chained = median(runs.flatMap(decodes).map((one) => one.chained));
  table.say(hostPhases(runs));
  if (limits !== null) {
    table.say(
      bottleneck({ limits, step, chained, dispatches, host: median(host), share: timed.share() }),
    );
  }
}

function idle(step: number, { steps, share: shareOf }: KernelSteps): Cell {
  const share = shareOf();
  if (steps.length === 0) return "not measured: no timestamps";
  if (share === undefined) return `not known: ${TOO_FEW}`;
  return share < 1 ? value(step * (1 - share), "ms") : "none: the kernels take the whole step";
}

/** ms that the host took to prepare and submit a decode step. */
function hostTime(serving: Serving): number {
  return median(
    decodes(serving).map(({ submitStart, submitEnd, chained }) =>
      (submitEnd - submitStart) / chained
    ),
  );
}

function decodes({ steps }: Serving): HostStep[] {
  return steps.filter((step) => decodesAll(step, 1));
}

/** What the host did between the readings of decode steps, on average: its phases add up. */
function hostPhases(runs: readonly Serving[]): string {
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
  const each = (ms: number) => `${(ms / count).toFixed(3)} ms`;
  return `The host's mean decode step of ${each(span)}: ${each(submits)} to prepare and submit, ` +
    `${each(reads)} to wait and read, ${each(span - submits - reads)} for scheduler and reader.`;
}
