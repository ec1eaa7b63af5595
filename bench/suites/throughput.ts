/** Tokens a second: one request, several by how they arrive, and by context. */

import { CONTEXTS, type Harness, type Suite } from "../harness/harness.ts";
import type { Recording } from "../harness/recorder.ts";
import { generated, tokensPerSecond, totalTime } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import {
  bars,
  DURATION,
  lines,
  type Metric,
  OUTPUT_TOKENS,
  THROUGHPUT,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import type { Arrival, Serving } from "../targets/target.ts";

/** The share of the max tok/s (memory-bound) of one request. */
const UTILIZATION: Metric = { id: "utilization", unit: "%" };
const REQUEST_THROUGHPUT: Metric = { id: "request_throughput", unit: "req/s" };
/** Of concurrent requests over sequential ones. */
const CONCURRENT_SPEEDUP: Metric = { id: "concurrent_speedup", unit: "x" };
/** Of several requests over a single one. */
const BATCHING_SPEEDUP: Metric = { id: "batching_speedup", unit: "x" };

export const throughput: Suite = {
  name: "throughput",
  summary: "how many tokens a second, alone and with many requests at once",
  needs: ({ prompts, promptTokens, maxTokens }) => ({
    sequences: prompts,
    tokens: Math.max(promptTokens, ...CONTEXTS) + maxTokens,
  }),
  async run(harness) {
    const { prompts } = harness.runOptions;
    const table = harness.table("Throughput", "Benchmark | Tokens/sec | Utilization");
    const measureRow = async (name: string, arrival: Arrival | "single") => {
      const measured = await measure(harness, arrival);
      table.row(name, measured.rate, utilization(harness, measured));
      return measured;
    };
    const single = await measureRow("Single request", "single");
    const sequential = await measureRow(`Sequential (${prompts} requests)`, "sequential");
    const concurrent = await measureRow(`Concurrent (${prompts} requests)`, "concurrent");
    const speedup = harness.at()
      .value(CONCURRENT_SPEEDUP, concurrent.rate.value / sequential.rate.value);
    table.note(
      `**Concurrent vs Sequential speedup: ${text(speedup)}**`,
      "Utilization is the share of the max tok/s (memory-bound) of one request; requests that run together share the reading of the weights and may exceed it.",
    );
    await contexts(harness);
    await batching(harness, single, concurrent);
  },
  charts: [
    bars("Throughput of one request, and of several", THROUGHPUT, {
      by: "arrival",
      series: "requests",
    }),
    lines("Throughput by length of the prompt", THROUGHPUT, {
      by: "context",
      xAxis: "tokens of the prompt",
    }),
  ],
};

/** Requests that arrived in one way. */
interface Measured {
  readonly at: Recording;
  readonly requests: number;
  readonly runs: readonly Serving[];
  readonly rate: Result;
}

async function measure(harness: Harness, arrival: Arrival | "single"): Promise<Measured> {
  const requests = arrival === "single" ? 1 : harness.runOptions.prompts;
  const runs = await harness.repeat(
    arrival,
    harness.requests(harness.prompts(requests)),
    arrival === "single" ? {} : { arrival },
  );
  const at = harness.at({ arrival, requests });
  const limit = harness.limit(arrival === "sequential" ? 1 : requests);
  return { at, requests, runs, rate: at.measure(THROUGHPUT, runs.map(tokensPerSecond), limit) };
}

function utilization({ report: { limits } }: Harness, { at, rate }: Measured): Result | string {
  return limits === null
    ? "no limit known"
    : at.value(UTILIZATION, 100 * rate.value / limits.memoryBound);
}

async function contexts(harness: Harness): Promise<void> {
  const table = harness.table(
    "Context Length Scaling",
    "Context Length | Tokens | Time (s) | Tok/sec",
  );
  for (const context of harness.contexts) {
    const requests = harness.requests(harness.prompts(1, context));
    const runs = await harness.repeat(`context of ${context}`, requests);
    const at = harness.at({ context });
    table.row(
      context,
      at.value(OUTPUT_TOKENS, generated(runs[0]!)),
      at.measure(DURATION, runs.map(totalTime)),
      at.measure(THROUGHPUT, runs.map(tokensPerSecond), harness.limit(1, context)),
    );
  }
  table.note("Time is that of the whole request, its prompt included.");
}

async function batching(harness: Harness, single: Measured, concurrent: Measured): Promise<void> {
  const table = harness.table(
    "Continuous batching",
    "Requests | Total Tokens | Total Time (s) | Throughput (tok/s) | Requests/sec | Speedup",
  );
  const row = (name: string, { at, requests, runs, rate }: Measured) =>
    table.row(
      name,
      at.value(OUTPUT_TOKENS, generated(runs[0]!)),
      at.measure(DURATION, runs.map(totalTime)),
      rate,
      at.measure(REQUEST_THROUGHPUT, runs.map((run) => requests / totalTime(run))),
      at.value(BATCHING_SPEEDUP, rate.value / single.rate.value),
    );
  row("1", single);
  row(`${concurrent.requests} at once`, concurrent);
  const staggered = await measure(harness, "staggered");
  row(`${staggered.requests} staggered`, staggered);
  table.note("Staggered: each request arrives when the one before has its fourth token.");
}
