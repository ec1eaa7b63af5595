import assert from "node:assert/strict";
import { Bench } from "../../bench/harness.ts";
import { toMarkdown } from "../../bench/markdown.ts";
import type { Report } from "../../bench/report.ts";
import { scalability } from "../../bench/suites/scalability.ts";
import { throughput } from "../../bench/suites/throughput.ts";
import { Trace } from "../../bench/trace.ts";
import type { BenchRequest, ServeOptions } from "../../bench/target.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

Deno.test("Bench.run() saves after every case, and keeps what was done when it is cut off", async () => {
  const controller = new AbortController();
  const target = new ScriptedTarget();
  // Four servings a case: one to warm up, three that count. The third case is cut off.
  target.onServe = (count) => count === 9 && controller.abort(new Error("Interrupted"));
  const saved: number[] = [];
  const report = await Bench.run("throughput", throughput, target, RUN, {
    signal: controller.signal,
    save: (report: Report) => saved.push(report.tables[0]!.rows.length),
  });
  assert.equal(report.complete, false);
  assert.deepEqual(saved, [1, 2, 2]);
  assert.match(toMarkdown(report), /Cut off/);
});

Deno.test("Bench.run() passes on what fails", async () => {
  const target = new ScriptedTarget();
  target.onServe = () => {
    throw new Error("lost the device");
  };
  await assert.rejects(Bench.run("scalability", scalability, target, RUN), /lost the device/);
});

Deno.test("warm-ups are not among the samples", async () => {
  const target = new ScriptedTarget();
  let servings = 0;
  target.onServe = () => servings++;
  const report = await Bench.run("scalability", scalability, target, { ...RUN, warmup: 2 });
  assert.equal(servings, 2 * (2 + 3));
  const cell = report.tables[0]!.rows[0]![1]!;
  assert.equal(typeof cell !== "string" && cell.samples?.length, 3);
});

Deno.test("a result above its limit fails a check and is flagged", async () => {
  const target = new ScriptedTarget();
  target.interval = 1e-6;
  const report = await Bench.run("scalability", scalability, target, {
    ...RUN,
    maxTokens: 150,
  }, { bandwidth: 0.001 });
  assert.equal(report.checks.find((c) => c.name === "within the limits")?.ok, false);
  assert.match(toMarkdown(report), /above its limit: wrong/);
});

Deno.test("a prompt that gives other tokens in another run fails a check", async () => {
  class Wrong extends ScriptedTarget {
    override async serve(requests: readonly BenchRequest[], options?: ServeOptions) {
      const serving = await super.serve(requests, options);
      if (requests.length < 2) return serving;
      const [first, ...rest] = serving.requests;
      return { ...serving, requests: [{ ...first!, ids: first!.ids.map(() => 0) }, ...rest] };
    }
  }
  const report = await Bench.run("scalability", scalability, new Wrong(), RUN);
  const check = report.checks.find((c) => c.name === "same tokens each time")!;
  assert.equal(check.ok, false);
  assert.match(check.detail, /2 at once/);
});

Deno.test("Trace has a span for each request, step and kernel", async () => {
  const trace = new Trace();
  const target = new ScriptedTarget();
  const serving = await target.serve([{ promptIds: [1, 2, 3], maxTokens: 5 }], { profile: true });
  trace.add("run", serving);
  const { traceEvents } = JSON.parse(trace.toJson());
  const count = (name: string) =>
    traceEvents.filter((e: { name: string; ph: string }) => e.name === name && e.ph === "X").length;
  assert.deepEqual(
    ["run", "prefill", "decode", "submit", "attention", "kernels, timed together"].map(count),
    [1, 1, 1, 5, 2, 1],
  );
  for (const event of traceEvents) if (event.ph === "X") assert.ok(event.dur >= 0, event.name);
});
