/** Measures the latency of requests: to the first token, between tokens, and end to end. */

import type { Harness, Suite } from "../harness/harness.ts";
import {
  decodeRate,
  endToEnd,
  interTokenLatencies,
  prefillRate,
  tpot,
  ttft,
} from "../harness/timings.ts";
import {
  DECODE_THROUGHPUT,
  DEVICE_MEMORY,
  E2E,
  ITL,
  lines,
  type Metric,
  OUTPUT_TOKENS,
  PEAK_RSS,
  PREFILL_THROUGHPUT,
  REQUESTS_SERVED,
  TOTAL_THROUGHPUT,
  TPOT,
  TTFT,
} from "../report/metrics.ts";
import { hasPercentile, medianOf, percentile, summarize } from "../report/stats.ts";
import type { Settings } from "../report/report.ts";
import { bufferBytes, type Served, type Serving } from "../targets/target.ts";
import { achieved } from "./achieved.ts";
import { ownTimes } from "./own_times.ts";
import { describeSampling, SAMPLED, sampledAsUsual } from "./sampled.ts";
import { plural } from "../../engine/plural.ts";

const PROMPT_TOKENS: Metric = { id: "prompt_tokens", unit: "" };
/** Sum of the E2E of all requests. */
const TOTAL_TIME: Metric = { id: "total_time", unit: "s" };
const MEAN_TTFT: Metric = { id: "ttft_mean", unit: "ms" };
const MEAN_TPOT: Metric = { id: "tpot_mean", unit: "ms" };
/** Over all requests together: tokens divided by time. */
const MEAN_DECODE_THROUGHPUT: Metric = { id: "decode_throughput_mean", unit: "tok/s" };
const MEAN_TOTAL_THROUGHPUT: Metric = { id: "total_throughput_mean", unit: "tok/s" };

const PERCENTILES = [50, 95, 99];

export const latency: Suite = {
  name: "latency",
  summary: "time to the first token, and time between tokens",
  endpoint: true,
  summaryColumns: [
    { title: "Gen Speed", metric: DECODE_THROUGHPUT.id },
    { title: "TTFT", metric: TTFT.id },
    { title: "Memory", metric: DEVICE_MEMORY.id, settings: { purpose: "total" } },
  ],
  needs: ({ promptTokens, maxTokens, contexts }) => ({
    sequences: 1,
    tokens: Math.max(promptTokens, ...contexts) + maxTokens,
  }),
  async run(harness) {
    const { target, runOptions } = harness;
    const prompts = harness.prompts(runOptions.prompts);
    const texts = runOptions.promptTexts.map((text) => target.text.encode(text, { bos: true }));
    const requests = harness.requests(prompts);
    // Requests are served one after the other, each alone. All cases are interleaved.
    const ways = [
      { name: "prompts", requests },
      ...sampledAsUsual(harness, prompts).map((own) => ({ name: "sampled", requests: own })),
      { name: "prompts by text", requests: harness.requests(texts) },
      { name: "text", requests: requests.slice(0, 1), text: "streaming" as const },
    ];
    harness.plan(ways.length + harness.contexts.length);
    const servings = await harness.interleave(
      ways,
      ({ name }) => name,
      ({ requests, text }) =>
        harness.serve(requests, { arrival: "sequential", ...(text && { text }) }),
    );
    const runsOf = (name: string) => servings[ways.findIndex((way) => way.name === name)] ?? [];
    metrics(harness, runsOf("prompts"), runsOf("sampled"));
    perPrompt(harness, runsOf("prompts by text"), texts);
    await contexts(harness);
    streaming(harness, runsOf("text"));
    ownTimes(harness, [], [{ cells: [], settings: {}, runs: runsOf("prompts") }]);
    summary(harness, runsOf("prompts").flatMap((run) => run.requests));
  },
  charts: [
    lines("Time to the first token by length of the prompt", TTFT, {
      by: "context",
      xAxis: "tokens of the prompt",
    }),
    lines("Decoding by length of the prompt", DECODE_THROUGHPUT, {
      by: "context",
      xAxis: "tokens of the prompt",
    }),
  ],
};

/** One sample per repetition: the median over its requests. */
function perRun(runs: readonly Serving[], of: (served: Served) => number): number[] {
  return runs.map(({ requests }) => medianOf(requests.map(of)));
}

/** The largest number of steps that the device chained: as many tokens arrive at once. */
function chainedSteps(runs: readonly Serving[]): number {
  return Math.max(...runs.flatMap(({ steps }) => steps.map(({ chained }) => chained)));
}

function metrics(harness: Harness, runs: readonly Serving[], sampled: readonly Serving[]): void {
  const { prompts, promptTokens, maxTokens } = harness.runOptions;
  const table = harness.table("Latency", "Metric | Value");
  const at = harness.at();
  const first = at.measure(TTFT, perRun(runs, ttft));
  table.row("TTFT", first);
  const perToken = at.measure(TPOT, perRun(runs, tpot));
  table.row("TPOT", perToken);
  const decode = at.measure(DECODE_THROUGHPUT, perRun(runs, decodeRate), harness.limit(1));
  table.row("Decode throughput", decode);
  if (sampled.length > 0) {
    const drawn = harness.at(SAMPLED);
    table.row("TPOT, sampled", drawn.measure(TPOT, perRun(sampled, tpot)));
    table.row(
      "Decode throughput, sampled",
      drawn.measure(DECODE_THROUGHPUT, perRun(sampled, decodeRate), harness.limit(1)),
    );
  }
  table.row(`E2E (${maxTokens} tokens)`, at.measure(E2E, perRun(runs, endToEnd)));
  table.row(
    "Processing TPS",
    at.measure(
      PREFILL_THROUGHPUT,
      perRun(runs, (served) => prefillRate(served, promptTokens)),
      harness.prefillLimit(promptTokens),
    ),
  );
  const total = (served: Served) => 1000 * (promptTokens + served.ids.length) / endToEnd(served);
  table.row("Total throughput", at.measure(TOTAL_THROUGHPUT, perRun(runs, total)));
  const gaps = runs.flatMap(({ requests }) => requests.flatMap(interTokenLatencies));
  for (const p of PERCENTILES) {
    table.row(
      `ITL p${p}`,
      hasPercentile(gaps.length, p)
        ? harness.at({ percentile: p }).percentile(ITL, percentile(gaps, p), gaps.length)
        : `not known: only ${gaps.length} ${plural(gaps.length, "gap")}`,
    );
  }
  table.note(
    `The value of a repetition is the median over its ${prompts} ${
      plural(prompts, "prompt")
    }; the table shows the median over the repetitions with its 95 % interval. Percentiles are over all ${gaps.length} ${
      plural(gaps.length, "gap")
    }.`,
    describeSampling(harness),
  );
  const chained = chainedSteps(runs);
  if (chained > 1) {
    table.note(
      `The device chains up to ${chained} steps, so tokens arrive in bursts of that size: the ITL is near 0 within a burst, and the time of the whole chain between two bursts. TPOT is the time per token.`,
    );
  }
  achieved(harness, { promptTokens, maxTokens, first, perToken, decode });
}

function perPrompt(
  harness: Harness,
  runs: readonly Serving[],
  prompts: readonly (readonly number[])[],
): void {
  const table = harness.table(
    "Per-Prompt Latency",
    "Prompt | Prompt Tokens | Tokens | TTFT (ms) | TPOT (ms) | tok/s",
  );
  const { promptTexts, maxTokens } = harness.runOptions;
  for (const [i, prompt] of prompts.entries()) {
    const own = runs.map((run) => run.requests[i]!);
    const at = harness.at({ prompt: i + 1 });
    table.row(
      title(promptTexts[i]!),
      at.value(PROMPT_TOKENS, prompt.length),
      at.value(OUTPUT_TOKENS, own[0]!.ids.length),
      at.measure(TTFT, own.map(ttft)),
      at.measure(TPOT, own.map(tpot)),
      at.measure(
        DECODE_THROUGHPUT,
        own.map(decodeRate),
        harness.limit(1, prompt.length, maxTokens),
      ),
    );
  }
  table.note("Tokens: generated tokens. Prompts are used as shown, without a chat template.");
}

/** The beginning of a prompt, on one line. */
function title(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 32 ? line : `${line.slice(0, 31)}…`;
}

async function contexts(harness: Harness): Promise<void> {
  const table = harness.table(
    "Context Length Scaling",
    "Context | TTFT (ms) | TPOT (ms) | Decode tok/s",
  );
  for (const context of harness.contexts) {
    const requests = harness.requests(harness.prompts(1, context));
    const served = (await harness.repeat(`context of ${context}`, requests))
      .map((run) => run.requests[0]!);
    const at = harness.at({ context });
    table.row(
      context,
      at.measure(TTFT, served.map(ttft)),
      at.measure(TPOT, served.map(tpot)),
      at.measure(DECODE_THROUGHPUT, served.map(decodeRate), harness.limit(1, context)),
    );
  }
}

function streaming(harness: Harness, runs: readonly Serving[]): void {
  const table = harness.table("Streaming", "Model | TTFT | Generation Speed");
  const served = runs.map(({ requests }) => requests[0]!);
  const settings: Settings = { consumer: "text" };
  const at = harness.at(settings);
  table.row(
    harness.report.environment.model.name,
    at.measure(TTFT, served.map(ttft)),
    at.measure(DECODE_THROUGHPUT, served.map(decodeRate)),
  );
  table.note(
    "Separate requests, measured at a consumer that converts each token to text and encodes it for output; the other tables are measured where the token ids arrive.",
  );
}

function summary(harness: Harness, all: readonly Served[]): void {
  const table = harness.table(
    "Run summary",
    "Model | Runs | Prompt Tok | Gen Tok | Total Time (s) | TTFT Mean (ms) | TPOT Mean (ms) | Gen Speed (tok/s) | Total Throughput (tok/s) | Memory",
  );
  const seconds = all.reduce((sum, served) => sum + endToEnd(served), 0) / 1000;
  const promptTokens = all.length * harness.runOptions.promptTokens;
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  const decodeSeconds = seconds - all.reduce((sum, served) => sum + ttft(served), 0) / 1000;
  const use = harness.target.memory();
  const memory = bufferBytes(use);
  const at = harness.at();
  const total = harness.at({ purpose: "total" });
  table.row(
    harness.report.environment.model.name,
    at.value(REQUESTS_SERVED, all.length),
    at.value(PROMPT_TOKENS, promptTokens),
    at.value(OUTPUT_TOKENS, tokens),
    at.value(TOTAL_TIME, seconds),
    at.value(MEAN_TTFT, summarize(all.map(ttft)).mean),
    at.value(MEAN_TPOT, summarize(all.map(tpot)).mean),
    at.value(MEAN_DECODE_THROUGHPUT, (tokens - all.length) / decodeSeconds, harness.limit(1)),
    at.value(MEAN_TOTAL_THROUGHPUT, (promptTokens + tokens) / seconds),
    harness.target.environment.endpoint
      ? "not reported"
      : memory === undefined
      ? at.value(PEAK_RSS, use.peakRss)
      : total.value(DEVICE_MEMORY, memory),
  );
  table.note(
    harness.target.environment.endpoint
      ? "Means over all requests and repetitions."
      : `Means over all requests and repetitions; memory is for ${
        memory === undefined ? "the process, at its peak" : "the buffers on the device"
      }.`,
  );
}
