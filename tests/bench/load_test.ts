/** Load on a server: when requests arrive, what is counted, and how failures are handled. */

import assert from "node:assert/strict";
import { toMarkdown } from "../../bench/report/markdown.ts";
import type { Report, RunOptions } from "../../bench/report/report.ts";
import { load } from "../../bench/suites/load.ts";
import { arrivals, paced } from "../../bench/targets/pacing.ts";
import { measureFailing } from "./failing_server.ts";
import { numberOf, RUN } from "./scripted_target.ts";

Deno.test("arrivals() are the same for a seed, and have the requested rate and burstiness", () => {
  const count = 20_000;
  for (const burstiness of [0.25, 1, 4]) {
    const pace = { rate: 5, burstiness, seed: 3 };
    const times = arrivals(count, pace);
    assert.deepEqual(arrivals(count, pace), times);
    assert.notDeepEqual(arrivals(count, { ...pace, seed: 4 }), times);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    const mean = gaps.reduce((a, b) => a + b) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    assert.equal(times[0], 0);
    assert.ok(gaps.every((gap) => gap >= 0));
    assert.ok(Math.abs(mean - 200) < 10, `mean ${mean}`);
    // The squared coefficient of variation of a gamma distribution is 1 over its shape.
    assert.ok(Math.abs(variance / mean ** 2 * burstiness - 1) < 0.1, `variance ${variance}`);
  }
});

Deno.test("paced() stays within its concurrency, starts all in order, and keeps failures", async () => {
  let [running, most] = [0, 0];
  const started: number[] = [];
  const results = await paced(9, async (index) => {
    most = Math.max(most, ++running);
    started.push(index);
    await Promise.resolve();
    running--;
    if (index === 4) throw new Error("no");
    return index;
  }, { pace: { concurrency: 3, burstiness: 1, seed: 0 }, signal: undefined });
  assert.equal(most, 3);
  assert.deepEqual(started, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(results.map(({ status }) => status === "fulfilled"), [
    ...[true, true, true, true, false, true, true, true, true],
  ]);
});

/** A load of 24 requests, of which every fourth fails. */
const measured = (suiteOptions: RunOptions["suiteOptions"]) =>
  measureFailing(load, (number) => number % 4 === 0, {
    ...{ prompts: 8, repetitions: 3, warmup: 0, suiteOptions },
  });

/** The number of requests and the mean TTFT, recomputed from the times of a report's runs. */
function recomputed(report: Report, name: string) {
  const runs = report.runs.filter((run) => run.case === name);
  const requests = runs.flatMap((run) => run.requests);
  const first = requests.map(({ submitted, times }) => times[0]! - submitted);
  return { count: requests.length, mean: first.reduce((a, b) => a + b) / first.length };
}

Deno.test("bench load counts failures, latencies and goodput for each number of requests at once", async () => {
  const report = await measured({ goodput: "ttft:100000" });
  for (const concurrency of RUN.concurrency) {
    const { count, mean } = recomputed(report, `${concurrency} at once`);
    assert.equal(numberOf(report, "requests_served", { concurrency }), count);
    assert.equal(numberOf(report, "requests_failed", { concurrency }), 24 - count);
    assert.equal(count, 18);
    assert.ok(Math.abs(numberOf(report, "ttft_mean", { concurrency }) - mean) < 1e-6);
    // All served requests were good.
    const rate = numberOf(report, "request_throughput", { concurrency });
    assert.equal(numberOf(report, "goodput", { concurrency }), rate);
    assert.equal(numberOf(report, "tpot", { concurrency, clock: "server" }), 0.5);
    assert.equal(numberOf(report, "ttft", { concurrency, clock: "server" }), 0.25);
    const peak = numberOf(report, "peak_throughput", { concurrency });
    assert.ok(peak >= RUN.maxTokens && peak <= 6 * RUN.maxTokens, `${peak}`);
  }
  const text = toMarkdown(report);
  assert.match(text, /\*\*Failed requests: 12 × http.* answers 429: queue full\*\*/);
  assert.match(text, /Goodput counts served requests with TTFT ≤ 100000 ms\./);
});

Deno.test("bench load at a rate: no request is good if the limit is below all of them", async () => {
  const report = await measured({ requestRate: "400", goodput: "ttft:0.0001" });
  assert.equal(numberOf(report, "goodput", { rate: 400 }), 0);
  assert.equal(
    numberOf(report, "requests_served", { rate: 400 }) +
      numberOf(report, "requests_failed", { rate: 400 }),
    24,
  );
});

Deno.test("a rate that is asked for twice is measured once", async () => {
  const report = await measured({ requestRate: "400,400.0" });
  assert.deepEqual(
    report.tables.find(({ title }) => title === "Load")!.rows.map(([name]) => name),
    ["400 req/s"],
  );
});
