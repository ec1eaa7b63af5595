/**
 * Measures tokens per second: of one request, of several by their arrival, and by context length.
 */

import { type Harness, type Suite } from "../harness/harness.ts";
import type { Recording } from "../harness/recorder.ts";
import {
  cacheHitRate,
  decodeRate,
  generated,
  tokensPerSecond,
  totalTime,
  tpot,
  ttft,
} from "../harness/timings.ts";
import { text } from "../report/format.ts";
import {
  bars,
  CACHE_HIT_RATE,
  DECODE_THROUGHPUT,
  DURATION,
  lines,
  type Metric,
  OUTPUT_TOKENS,
  REQUEST_THROUGHPUT,
  THROUGHPUT,
  TPOT,
  TTFT,
  UTILIZATION,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { pairedRatios } from "../report/stats.ts";
import type { Arrival, Serving } from "../targets/target.ts";
import { achieved } from "./achieved.ts";
import { plural } from "../../engine/plural.ts";

/** Throughput of concurrent requests relative to sequential ones. */
const CONCURRENT_SPEEDUP: Metric = { id: "concurrent_speedup", unit: "x" };
/** Throughput of several requests relative to a single one. */
const BATCHING_SPEEDUP: Metric = { id: "batching_speedup", unit: "x" };

const WAYS = ["single", "sequential", "concurrent", "staggered"] as const;

type Way = typeof WAYS[number];

export const throughput: Suite = {
  name: "throughput",
  summary: "tokens per second, for one request and for many at once",
  endpoint: true,
  summaryColumns: [
    {
      title: "Single Request",
      metric: THROUGHPUT.id,
      settings: { arrival: "single", requests: 1 },
    },
    {
      title: "Batch",
      metric: THROUGHPUT.id,
      settings: ({ prompts }) => ({ arrival: "concurrent", requests: prompts }),
    },
    {
      title: "Speedup",
      metric: BATCHING_SPEEDUP.id,
      settings: ({ prompts }) => ({ arrival: "concurrent", requests: prompts }),
    },
  ],
  needs: ({ prompts, promptTokens, maxTokens, contexts }) => ({
    sequences: prompts,
    tokens: Math.max(promptTokens, ...contexts) + maxTokens,
  }),
  async run(harness) {
    harness.plan(WAYS.length + harness.contexts.length);
    const all = await measure(harness);
    const { prompts } = harness.runOptions;
    const table = harness.table(
      "Throughput",
      "Benchmark | Tokens/sec | Utilization | Cache Hit Rate",
    );
    const row = (name: string, { rate, use, hitRate }: Measured) =>
      table.row(name, rate, use, hitRate);
    row("Single request", all.single);
    row(`Sequential (${prompts} ${plural(prompts, "request")})`, all.sequential);
    row(`Concurrent (${prompts} ${plural(prompts, "request")})`, all.concurrent);
    const speedup = harness.at()
      .ratio(CONCURRENT_SPEEDUP, pairedRatios(all.concurrent.rates, all.sequential.rates));
    table.note(
      `**Concurrent vs Sequential speedup: ${text(speedup)}**`,
      "Utilization: the minimum time for the same prompts and tokens by the limits above, divided by the measured time. The runs are interleaved; the speedup compares runs of the same repetition.",
    );
    alone(harness, all.single);
    await contexts(harness);
    batching(harness, all);
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

/** The measurements of requests that arrived in one way. */
interface Measured {
  readonly at: Recording;
  readonly requests: number;
  readonly runs: readonly Serving[];
  readonly rates: readonly number[];
  readonly rate: Result;
  readonly use: Result | string;
  readonly hitRate: Result;
}

async function measure(harness: Harness): Promise<Readonly<Record<Way, Measured>>> {
  const { prompts, promptTokens, maxTokens } = harness.runOptions;
  const requests = harness.requests(harness.prompts(prompts));
  const servings = await harness.interleave(
    WAYS,
    (way) => way,
    (way) => {
      const own = way === "single" ? requests.slice(0, 1) : requests;
      const arrival: Arrival = way === "single" ? "concurrent" : way;
      return harness.serve(own, { arrival });
    },
  );
  const record = (way: Way, i: number): Measured => {
    const runs = servings[i]!;
    const count = way === "single" ? 1 : prompts;
    const at = harness.at({ arrival: way, requests: count });
    const rates = runs.map(tokensPerSecond);
    const work = { requests: count, promptTokens, maxTokens };
    const limit = harness.workLimit({ ...work, together: way !== "sequential" });
    const rate = at.measure(THROUGHPUT, rates, limit);
    return {
      ...{ at, requests: count, runs, rates, rate },
      use: limit === undefined ? "no limit known" : at.value(UTILIZATION, 100 * rate.value / limit),
      hitRate: at.value(CACHE_HIT_RATE, cacheHitRate(runs)),
    };
  };
  return Object.fromEntries(WAYS.map((way, i) => [way, record(way, i)])) as Record<Way, Measured>;
}

function alone(harness: Harness, { at, runs }: Measured): void {
  const served = runs.map(({ requests }) => requests[0]!);
  const { promptTokens, maxTokens } = harness.runOptions;
  achieved(harness, {
    ...{ promptTokens, maxTokens },
    first: at.measure(TTFT, served.map(ttft)),
    perToken: at.measure(TPOT, served.map(tpot)),
    decode: at.measure(DECODE_THROUGHPUT, served.map(decodeRate), harness.limit(1)),
  });
}

async function contexts(harness: Harness): Promise<void> {
  const { maxTokens } = harness.runOptions;
  const table = harness.table(
    "Context Length Scaling",
    "Context Length | Tokens | Time (s) | Tok/sec",
  );
  for (const context of harness.contexts) {
    const requests = harness.requests(harness.prompts(1, context));
    const runs = await harness.repeat(`context of ${context}`, requests);
    const at = harness.at({ context });
    const work = { requests: 1, promptTokens: context, maxTokens, together: true };
    table.row(
      context,
      at.value(OUTPUT_TOKENS, generated(runs[0]!)),
      at.measure(DURATION, runs.map(totalTime)),
      at.measure(THROUGHPUT, runs.map(tokensPerSecond), harness.workLimit(work)),
    );
  }
  table.note("Time covers the whole request, including its prompt.");
}

function batching(
  harness: Harness,
  { single, concurrent, staggered }: Readonly<Record<Way, Measured>>,
): void {
  const table = harness.table(
    "Continuous batching",
    "Requests | Total Tokens | Total Time (s) | Throughput (tok/s) | Requests/sec | Speedup | Cache Hit Rate",
  );
  const row = (name: string, { at, requests, runs, rates, rate, hitRate }: Measured) =>
    table.row(
      name,
      at.value(OUTPUT_TOKENS, generated(runs[0]!)),
      at.measure(DURATION, runs.map(totalTime)),
      rate,
      at.measure(REQUEST_THROUGHPUT, runs.map((run) => requests / totalTime(run))),
      at.ratio(BATCHING_SPEEDUP, pairedRatios(rates, single.rates)),
      hitRate,
    );
  row("1", single);
  row(`${concurrent.requests} at once`, concurrent);
  row(`${staggered.requests} staggered`, staggered);
  table.note(
    "The same runs as above. Staggered: each request arrives when the previous one has its fourth token. Speedup: relative to a single request in the same repetition.",
  );
}
