/** How suites handle requests that a server fails. */

import assert from "node:assert/strict";
import type { Suite } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { load } from "../../bench/suites/load.ts";
import { scalability } from "../../bench/suites/scalability.ts";
import { scenarios } from "../../bench/suites/scenarios.ts";
import { EndpointError } from "../../client/errors.ts";
import { measureFailing } from "./failing_server.ts";
import { numberOf, RUN } from "./scripted_target.ts";

const measured = (suite: Suite, fails: (number: number) => boolean) =>
  measureFailing(suite, fails, { repetitions: 4, warmup: 1 });

// A repetition sends 1 + 2 requests, and so does the warm-up before.
const REQUESTS = 3;

Deno.test("a repetition in which a request fails is left out, and the request is counted", async () => {
  // The first of the two concurrent requests in the second repetition.
  const report = await measured(scalability, (number) => number === 2 * REQUESTS + 2);
  assert.equal(numberOf(report, "requests_failed", { case: "2 at once" }), 1);
  assert.equal(numberOf(report, "repetitions_left_out", { case: "2 at once" }), 1);
  for (const requests of [1, 2]) {
    const { samples } = report.results.find((result) =>
      result.metric === "throughput" && result.settings["requests"] === requests
    )!;
    assert.equal(samples!.length, 3);
  }
  assert.deepEqual(report.runs.map((run) => [run.case, run.repetition]), [
    ...[0, 1, 2].flatMap((i) => [["1 at once", i], ["2 at once", i]]),
  ]);
  assert.match(
    toMarkdown(report),
    /\| 2 at once \| 1 +\| 1 +\| 1 × http\S+ answers 429: queue full +\|/,
  );
});

Deno.test("a failed request of a warm-up is counted, and no repetition is left out", async () => {
  const report = await measured(scalability, (number) => number === 1);
  assert.equal(numberOf(report, "requests_failed", { case: "1 at once" }), 1);
  assert.equal(numberOf(report, "repetitions_left_out", { case: "1 at once" }), 0);
  assert.equal(report.runs.length, 8);
});

Deno.test("if every repetition has a failure, the run ends with the reason", async () => {
  await assert.rejects(
    measured(scalability, (number) => number > REQUESTS && number % REQUESTS !== 1),
    /answers 429: queue full/,
  );
});

Deno.test("a request that fails outside of repetitions ends the run with its reason", async () => {
  // The scenarios begin with a request that is no repetition.
  await assert.rejects(measured(scenarios, () => true), EndpointError);
});

Deno.test("a load of which all requests failed is reported as a failed case", async () => {
  const report = await measured(load, () => true);
  const names = RUN.concurrency.map((count) => `${count} at once`);
  assert.deepEqual(report.failures!.map((failure) => failure.case), names);
  assert.match(report.failures![0]!.reason, /^8 × http\S+ answers 429: queue full$/);
  assert.equal(numberOf(report, "requests_served", { concurrency: 1 }), 0);
});
