/** Measures throughput by the number of simultaneous requests. */

import { type Suite } from "../harness/harness.ts";
import { cacheHitRate, tokensPerSecond } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import { CACHE_HIT_RATE, EFFICIENCY, lines, type Metric, THROUGHPUT } from "../report/metrics.ts";
import { pairedRatios } from "../report/stats.ts";
import { plural } from "../../engine/plural.ts";

const BEST_THROUGHPUT: Metric = { id: "best_throughput", unit: "tok/s" };
const BEST_REQUESTS: Metric = { id: "best_requests", unit: "" };
/** The largest number of requests in one step; the others wait in the queue. */
const RUNNING: Metric = { id: "running_requests", unit: "" };

export const scalability: Suite = {
  name: "scalability",
  summary: "throughput by number of simultaneous requests",
  endpoint: true,
  summaryColumns: [
    { title: "Best (tok/s)", metric: BEST_THROUGHPUT.id },
    { title: "Requests", metric: BEST_REQUESTS.id },
  ],
  needs: ({ concurrency, promptTokens, maxTokens }) => ({
    sequences: Math.max(...concurrency),
    tokens: promptTokens + maxTokens,
  }),
  async run(harness) {
    const { promptTokens, maxTokens, concurrency } = harness.runOptions;
    const counts = [...new Set([1, ...concurrency])].sort((a, b) => a - b);
    const requests = harness.requests(harness.prompts(counts.at(-1)!));
    harness.plan(counts.length);
    const servings = await harness.interleave(
      counts,
      (count) => `${count} at once`,
      (count) => harness.serve(requests.slice(0, count)),
    );
    const table = harness.table(
      "Scalability",
      "Requests | Running | Tok/sec | Efficiency | Cache Hit Rate",
    );
    const rates = servings.map((runs) => runs.map(tokensPerSecond));
    const medians: number[] = [];
    for (const [i, count] of counts.entries()) {
      const at = harness.at({ requests: count });
      const limit = harness.workLimit({ requests: count, promptTokens, maxTokens, together: true });
      const rate = at.measure(THROUGHPUT, rates[i]!, limit);
      medians.push(rate.value);
      const inSteps = servings[i]!
        .flatMap(({ steps }) => steps.map(({ sequences }) => sequences));
      table.row(
        count,
        inSteps.length === 0 ? "not reported" : at.value(RUNNING, Math.max(...inSteps)),
        rate,
        at.ratio(EFFICIENCY, pairedRatios(rates[i]!, rates[0]!, 100 / count)),
        at.value(CACHE_HIT_RATE, cacheHitRate(servings[i]!)),
      );
    }
    const at = harness.at();
    const best = at.value(BEST_THROUGHPUT, Math.max(...medians));
    const most = at.value(BEST_REQUESTS, counts[medians.indexOf(best.value)]!);
    table.note(
      `**Best throughput: ${text(best)} at ${text(most)} ${
        plural(most.value, "concurrent request")
      }**`,
      "Running: the largest number of requests in one step; the others waited in the queue. The runs are interleaved; efficiency is relative to one request in the same repetition.",
    );
  },
  charts: [
    lines("Throughput by requests at once", THROUGHPUT, {
      by: "requests",
      xAxis: "requests at once",
      ideal: true,
    }),
  ],
};
