/** How long a request waits: for its first token, between tokens, in all. */

import { CONTEXTS, type Harness, type Suite } from "../harness/harness.ts";
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
  lines,
  type Metric,
  OUTPUT_TOKENS,
  PREFILL_THROUGHPUT,
  TPOT,
  TTFT,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { percentile, summarize } from "../report/stats.ts";
import { bufferBytes, type Served, type Serving } from "../targets/target.ts";

/** From submitting a request to its last token. */
const E2E: Metric = { id: "e2e", unit: "ms" };
/** A percentile of the gaps between consecutive tokens. */
const ITL: Metric = { id: "itl", unit: "ms" };
/** Prompt and output tokens of a request per second of its E2E. */
const TOTAL_THROUGHPUT: Metric = { id: "total_throughput", unit: "tok/s" };
const REQUESTS_SERVED: Metric = { id: "requests_served", unit: "" };
const PROMPT_TOKENS: Metric = { id: "prompt_tokens", unit: "" };
/** The E2E of all requests. */
const TOTAL_TIME: Metric = { id: "total_time", unit: "s" };
const MEAN_TTFT: Metric = { id: "ttft_mean", unit: "ms" };
const MEAN_TPOT: Metric = { id: "tpot_mean", unit: "ms" };
/** Of all requests together: tokens over time. */
const MEAN_DECODE_THROUGHPUT: Metric = { id: "decode_throughput_mean", unit: "tok/s" };
const MEAN_TOTAL_THROUGHPUT: Metric = { id: "total_throughput_mean", unit: "tok/s" };

export const latency: Suite = {
  name: "latency",
  summary: "how long a request waits for its first token, and between them",
  needs: ({ promptTokens, maxTokens }) => ({
    sequences: 1,
    tokens: Math.max(promptTokens, ...CONTEXTS) + maxTokens,
  }),
  async run(harness) {
    const prompts = harness.prompts(harness.runOptions.prompts);
    // One table after the other needs the same runs: each prompt alone, one after the other.
    const runs = await harness.repeat("prompts", harness.requests(prompts), {
      arrival: "sequential",
    });
    const all = runs.flatMap((run) => run.requests);
    const { first, decode } = metrics(harness, all, chainedSteps(runs));
    perPrompt(harness, runs, prompts);
    await contexts(harness);
    const streaming = harness.table("Streaming", "Model | TTFT | Generation Speed");
    streaming.row(harness.report.environment.model.name, first, decode);
    streaming.note("Measured at the reader of the token stream, as are all times of this report.");
    summary(harness, all);
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

/** Most steps that the device chained: as many tokens come at once. */
function chainedSteps(runs: readonly Serving[]): number {
  return Math.max(...runs.flatMap(({ steps }) => steps.map(({ chained }) => chained)));
}

function metrics(
  harness: Harness,
  all: readonly Served[],
  chained: number,
): { first: Result; decode: Result } {
  const { promptTokens, maxTokens } = harness.runOptions;
  const table = harness.table("Latency", "Metric | Value");
  const at = harness.at();
  const first = at.measure(TTFT, all.map(ttft));
  table.row("TTFT", first);
  table.row("TPOT", at.measure(TPOT, all.map(tpot)));
  const decode = at.measure(DECODE_THROUGHPUT, all.map(decodeRate), harness.limit(1));
  table.row("Decode throughput", decode);
  table.row(`E2E (${maxTokens} tokens)`, at.measure(E2E, all.map(endToEnd)));
  table.row(
    "Processing TPS",
    at.measure(
      PREFILL_THROUGHPUT,
      all.map((served) => prefillRate(served, promptTokens)),
      harness.prefillLimit(promptTokens),
    ),
  );
  const total = ({ ids }: Served) => promptTokens + ids.length;
  table.row(
    "Total throughput",
    at.measure(TOTAL_THROUGHPUT, all.map((served) => 1000 * total(served) / endToEnd(served))),
  );
  const gaps = all.flatMap(interTokenLatencies);
  for (const p of [50, 95, 99]) {
    table.row(`ITL p${p}`, harness.at({ percentile: p }).value(ITL, percentile(gaps, p)));
  }
  if (chained > 1) {
    table.note(
      `The device chains up to ${chained} steps, and tokens come in bursts of as many: the ITL is near 0 within a burst, and between two of them that of the whole chain. TPOT is the time of a token.`,
    );
  }
  return { first, decode };
}

function perPrompt(
  harness: Harness,
  runs: readonly Serving[],
  prompts: readonly (readonly number[])[],
): void {
  const table = harness.table(
    "Per-Prompt Latency",
    "Prompt | Tokens | TTFT (ms) | TPOT (ms) | tok/s",
  );
  for (const [i, prompt] of prompts.entries()) {
    const own = runs.map((run) => run.requests[i]!);
    const at = harness.at({ prompt: i + 1 });
    table.row(
      title(harness.target.text.decode(prompt, false)),
      prompt.length,
      at.measure(TTFT, own.map(ttft)),
      at.measure(TPOT, own.map(tpot)),
      at.measure(DECODE_THROUGHPUT, own.map(decodeRate), harness.limit(1)),
    );
  }
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

function summary(harness: Harness, all: readonly Served[]): void {
  const table = harness.table(
    "Run summary",
    "Model | Runs | Prompt Tok | Gen Tok | Total Time (s) | TTFT Mean (ms) | TPOT Mean (ms) | Gen Speed (tok/s) | Total Throughput (tok/s) | Memory",
  );
  const seconds = all.reduce((sum, served) => sum + endToEnd(served), 0) / 1000;
  const promptTokens = all.length * harness.runOptions.promptTokens;
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  const decodeSeconds = seconds - all.reduce((sum, served) => sum + ttft(served), 0) / 1000;
  const memory = bufferBytes(harness.target.memory());
  const at = harness.at();
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
    memory === undefined
      ? "not counted on the CPU"
      : harness.at({ purpose: "total" }).value(DEVICE_MEMORY, memory),
  );
}
