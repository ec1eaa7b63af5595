import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { speed } from "../../bench/suites/speed.ts";
import type { Report, RunOptions } from "../../bench/report/report.ts";
import { numberOf, RUN, ScriptedTarget } from "./scripted_target.ts";

function runWith(suiteOptions: RunOptions["suiteOptions"]): Promise<Report> {
  return Harness.run(speed, new ScriptedTarget(), { run: { ...RUN, suiteOptions } });
}

Deno.test("bench speed computes only the tokens after the depth, in each repetition", async () => {
  const { results } = await runWith({ promptTokens: "32", maxTokens: "4", depth: "0,64" });
  // A scripted prompt takes 2 ms, plus 0.125 ms per token that is not in the cache.
  const ttft = (test: string) =>
    results.find(({ metric, settings }) => metric === "ttft" && settings.test === test)!.samples!;
  for (const test of ["pp32", "pp32 @ d64"]) {
    for (const time of ttft(test)) assert.ok(time > 5.5 && time < 6.6, `${test}: ${time}`);
  }
});

Deno.test("bench speed computes rates of prompts, decoding and both from their own tokens", async () => {
  const report = await runWith({ promptTokens: "32", maxTokens: "4", pg: "32+4" });
  const of = (metric: string, test: string) => numberOf(report, metric, { test });
  assert.ok(Math.abs(of("prefill_throughput", "pp32") - 32000 / of("ttft", "pp32")) < 50);
  // Four tokens after the first take 2 ms each, plus 0.005 ms for each token before.
  const step = 2 + 0.005 * 3.5;
  assert.ok(Math.abs(of("decode_throughput", "tg4") * step / 1000 - 1) < 0.05);
  const both = 36 / (6 + 4 * (2 + 0.005 * 34.5)) * 1000;
  assert.ok(Math.abs(of("total_throughput", "pp32+tg4") / both - 1) < 0.05);
});

Deno.test("a failed test has its row, and the others are measured", async () => {
  // The scripted context has 256 tokens.
  const report = await runWith({ promptTokens: "32,300", maxTokens: "4", depth: "0,240" });
  assert.deepEqual(report.failures!.map((one) => one.case), [
    "pp300",
    "pp32 @ d240",
    "pp300 @ d240",
  ]);
  assert.ok(report.complete);
  const [table] = report.tables;
  assert.equal(table!.rows.length, 6);
  assert.equal(
    table!.rows[1]![7],
    "failed: it needs a context of 301 tokens, but the model was loaded with 256 (see -c)",
  );
});

Deno.test("an error of a session fails the tests that would have shared it", async () => {
  const target = new ScriptedTarget();
  const open = target.withSession.bind(target);
  target.withSession = (options, use) =>
    options.batchTokens === 8 ? Promise.reject(new Error("no memory")) : open(options, use);
  const run = { ...RUN, suiteOptions: { promptTokens: "32", maxTokens: "4", batch: "8,16" } };
  const { failures, results } = await Harness.run(speed, target, { run });
  assert.deepEqual(failures, [
    { case: "pp32, batch 8", reason: "no memory" },
    { case: "tg4, batch 8", reason: "no memory" },
  ]);
  assert.ok(results.some(({ settings }) => settings.batch === 16));
});

Deno.test("a test that is asked for twice is measured once, and so is a depth that is rounded", async () => {
  const report = await runWith({
    ...{ promptTokens: "32", maxTokens: "4", pg: "32+4,032+4", depth: "0,8,64,70" },
    batch: "16,16",
  });
  assert.equal(report.failures, undefined);
  const tests = ["pp32", "tg4", "pp32+tg4"];
  assert.deepEqual(
    report.tables[0]!.rows.map((row) => row[6]),
    [...tests, ...tests.map((name) => `${name} @ d64`)],
  );
});

for (const [promptTokens, maxTokens, depth] of [[300, 0, "0"], [16, 0, "288"], [0, 300, "0"]]) {
  Deno.test(`tests that all fail have their rows and no other error: -p ${promptTokens} -n ${maxTokens} --depth ${depth}`, async () => {
    const lengths = { promptTokens: Number(promptTokens), maxTokens: Number(maxTokens) };
    const suiteOptions = {
      ...{ promptTokens: `${promptTokens}`, maxTokens: `${maxTokens}` },
      ...{ depth: `${depth}` },
    };
    const run = { ...RUN, ...lengths, suiteOptions };
    const report = await Harness.run(speed, new ScriptedTarget(), { run });
    assert.ok(report.complete);
    assert.equal(report.failures!.length, 1);
    assert.match(
      String(report.tables[0]!.rows[0]![7]),
      /^failed: it needs a context of \d+ tokens/,
    );
    assert.equal(report.outputHash, "");
  });
}

Deno.test("bench speed refuses an empty list of tests", () => {
  const suiteOptions = { promptTokens: "0", maxTokens: "0" };
  assert.throws(() => speed.needs({ ...RUN, suiteOptions }), /without a test: give -p or -n/);
});
