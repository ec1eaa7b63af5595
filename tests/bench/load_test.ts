/** A load on a server: when requests arrive, what is counted, and what is made of failures. */

import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { type Report, reportSchema, type RunOptions } from "../../bench/report/report.ts";
import { load } from "../../bench/suites/load.ts";
import { EndpointClient } from "../../bench/targets/endpoint_client.ts";
import { EndpointTarget } from "../../bench/targets/endpoint_target.ts";
import { arrivals, paced } from "../../bench/targets/pacing.ts";
import { listening } from "../server/served.ts";
import { numberOf, PROGRAM, RUN } from "./scripted_target.ts";

Deno.test("arrivals() are the same for a seed, and have the rate and the burstiness asked for", () => {
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

Deno.test("paced() has no more at once than it may, starts all in order, and keeps failures", async () => {
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

/** A server whose every fourth answer fails; it tells its own times. */
async function measured(suiteOptions: RunOptions["suiteOptions"]): Promise<Report> {
  let requests = 0;
  let report: Report | undefined;
  await listening(async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    const { max_tokens } = await request.json();
    // Of two tokens are those that ask how long tokens are.
    if (max_tokens > 2 && ++requests % 4 === 0) return new Response("queue full", { status: 429 });
    const encoder = new TextEncoder();
    const event = (data: object) => encoder.encode(`data: ${JSON.stringify(data)}\n\n`);
    const body = new ReadableStream({
      async start(controller) {
        for (let i = 0; i < max_tokens; i++) {
          controller.enqueue(event({ choices: [{ text: "a" }] }));
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        controller.enqueue(event({
          choices: [],
          usage: { prompt_tokens: 9, completion_tokens: max_tokens },
          timings: { prompt_ms: 0.25, predicted_per_token_ms: 0.5 },
        }));
        controller.enqueue(encoder.encode("data: [DONE]\n\n"));
        controller.close();
      },
    });
    return new Response(body);
  }, async (url) => {
    const client = await EndpointClient.open({ url });
    const target = await EndpointTarget.open(client, PROGRAM, "Once upon a time there was. ");
    const run = { ...RUN, prompts: 8, repetitions: 3, warmup: 0, suiteOptions };
    report = await Harness.run(load, target, { run });
  });
  assert.ok(report?.complete);
  assert.deepEqual(reportSchema.parse(report), report);
  return report;
}

/** What the report says, recomputed from the times of its runs. */
function recomputed(report: Report, name: string) {
  const runs = report.runs.filter((run) => run.case === name);
  const requests = runs.flatMap((run) => run.requests);
  const first = requests.map(({ submitted, times }) => times[0]! - submitted);
  return { count: requests.length, mean: first.reduce((a, b) => a + b) / first.length };
}

Deno.test("bench load counts failures, latencies and goodput by the number of requests at once", async () => {
  const report = await measured({ goodput: "ttft:100000" });
  for (const concurrency of RUN.concurrency) {
    const { count, mean } = recomputed(report, `${concurrency} at once`);
    assert.equal(numberOf(report, "requests_served", { concurrency }), count);
    assert.equal(numberOf(report, "requests_failed", { concurrency }), 24 - count);
    assert.equal(count, 18);
    assert.ok(Math.abs(numberOf(report, "ttft_mean", { concurrency }) - mean) < 1e-6);
    // All that were served were good.
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

Deno.test("bench load at a rate: none is good where the limit is less than any", async () => {
  const report = await measured({ requestRate: "400", goodput: "ttft:0.0001" });
  assert.equal(numberOf(report, "goodput", { rate: 400 }), 0);
  assert.equal(
    numberOf(report, "requests_served", { rate: 400 }) +
      numberOf(report, "requests_failed", { rate: 400 }),
    24,
  );
});
