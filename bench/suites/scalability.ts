/** Tokens a second against the number of requests at once. */

import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { tokensPerSecond } from "../harness/timings.ts";

export async function scalability(bench: Bench): Promise<void> {
  const table = bench.table("Scalability", ["Requests", ["Tok/sec", "tok/s"], "Efficiency"]);
  const counts = [...new Set([1, ...bench.run.concurrency])].sort((a, b) => a - b);
  const prompts = bench.prompts(counts.at(-1)!);
  let single = NaN;
  let best = { rate: 0, count: 0 };
  for (const count of counts) {
    const requests = bench.requests(prompts.slice(0, count));
    const runs = await bench.repeat(`${count} at once`, requests);
    const rate = bench.measure(
      `${count} at once`,
      runs.map(tokensPerSecond),
      "tok/s",
      bench.limit(count),
    );
    if (count === 1) single = rate.value;
    if (rate.value > best.rate) best = { rate: rate.value, count };
    table.row(value(count, ""), rate, value(100 * rate.value / (count * single), "%"));
  }
  table.say(
    `**Best throughput: ${best.rate.toFixed(1)} tok/s at ${best.count} concurrent requests**`,
  );
}
