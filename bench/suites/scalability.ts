/** Tokens a second against the number of requests at once. */

import { type Suite } from "../harness/harness.ts";
import { tokensPerSecond } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import { lines, type Metric, THROUGHPUT } from "../report/metrics.ts";

/** Throughput over that many times the throughput of one request. */
const EFFICIENCY: Metric = { id: "efficiency", unit: "%" };
const BEST_THROUGHPUT: Metric = { id: "best_throughput", unit: "tok/s" };
const BEST_REQUESTS: Metric = { id: "best_requests", unit: "" };

export const scalability: Suite = {
  name: "scalability",
  summary: "how many requests at once are worth it",
  needs: ({ concurrency, promptTokens, maxTokens }) => ({
    sequences: Math.max(...concurrency),
    tokens: promptTokens + maxTokens,
  }),
  async run(harness) {
    const table = harness.table("Scalability", "Requests | Tok/sec | Efficiency");
    const counts = [...new Set([1, ...harness.runOptions.concurrency])].sort((a, b) => a - b);
    const prompts = harness.prompts(counts.at(-1)!);
    const rates: number[] = [];
    for (const requests of counts) {
      const own = harness.requests(prompts.slice(0, requests));
      const runs = await harness.repeat(`${requests} at once`, own);
      const at = harness.at({ requests });
      const rate = at.measure(THROUGHPUT, runs.map(tokensPerSecond), harness.limit(requests));
      rates.push(rate.value);
      const efficiency = at.value(EFFICIENCY, 100 * rate.value / (requests * rates[0]!));
      table.row(requests, rate, efficiency);
    }
    const at = harness.at();
    const best = at.value(BEST_THROUGHPUT, Math.max(...rates));
    const requests = at.value(BEST_REQUESTS, counts[rates.indexOf(best.value)]!);
    table.note(`**Best throughput: ${text(best)} at ${text(requests)} concurrent requests**`);
  },
  charts: [
    lines("Throughput by requests at once", THROUGHPUT, {
      by: "requests",
      xAxis: "requests at once",
      ideal: true,
    }),
  ],
};
