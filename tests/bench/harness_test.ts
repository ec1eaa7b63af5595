import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Bench } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import type { Cell, Report } from "../../bench/report/report.ts";
import { detokenizer } from "../../bench/suites/detokenizer.ts";
import { latency } from "../../bench/suites/latency.ts";
import { pagedCache } from "../../bench/suites/paged_cache.ts";
import { prefixCache } from "../../bench/suites/prefix_cache.ts";
import { scalability } from "../../bench/suites/scalability.ts";
import { scenarios } from "../../bench/suites/scenarios.ts";
import { throughput } from "../../bench/suites/throughput.ts";
import { Trace } from "../../bench/report/trace.ts";
import type { BenchRequest, ServeOptions, Serving } from "../../bench/targets/target.ts";
import { ENVIRONMENT, RUN, ScriptedTarget } from "./scripted_target.ts";

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

Deno.test("Bench.run() passes on what fails, and saves a whole report of what was done", async () => {
  const target = new ScriptedTarget();
  target.onServe = (count) => {
    if (count === 6) throw new Error("lost the device");
  };
  let saved: Report | undefined;
  const save = (report: Report) => saved = structuredClone(report);
  const run = Bench.run("scalability", scalability, target, RUN, { save });
  await assert.rejects(run, /lost the device/);
  assert.equal(saved?.complete, false);
  assert.equal(saved.tables[0]!.rows.length, 1);
  const checks = saved.checks.map(({ name }) => name);
  assert.deepEqual(checks, ["same tokens each time", "within the limits"]);
});

Deno.test("the detokenizer suite, which waits for nothing, hears of a signal", async () => {
  const controller = new AbortController();
  const report = await Bench.run("detokenizer", detokenizer, new ScriptedTarget(), RUN, {
    signal: controller.signal,
    progress: (label) => {
      if (label.startsWith("Medium")) setImmediate(() => controller.abort());
    },
  });
  assert.equal(report.complete, false);
  assert.deepEqual(report.tables[0]!.rows.map(([name]) => name), ["Short"]);
});

function limitOf(cell: Cell | undefined): number | undefined {
  return typeof cell === "object" ? cell.limit : undefined;
}

Deno.test("prefill has a limit of its own: the head for one token, and weights read once", async () => {
  // The head, 512 × 64 of a million weights, is for the last of 64 tokens; attention, of 32.5
  // positions on average, has 4 · 32.5 · 64 · 2 operations.
  const weights = 1e6 - 512 * 64 * 63 / 64;
  const arithmetic = 1e12 / (2 * weights + 4 * 32.5 * 64 * 2);
  const read = (bandwidth: number) => bandwidth * 1e9 * 64 / 1_062_500;
  for (const [bandwidth, expected] of [[100, arithmetic], [1, read(1)]] as const) {
    const report = await Bench.run("latency", latency, new ScriptedTarget(), RUN, { bandwidth });
    const row = report.tables[0]!.rows.find(([name]) => name === "Processing TPS")!;
    assert.equal(limitOf(row[1]), expected);
  }
});

Deno.test("a scenario's limit is that of its own length", async () => {
  const report = await Bench.run("scenarios", scenarios, new ScriptedTarget(), RUN);
  const [s1] = report.tables[0]!.rows;
  // 16 tokens, and half of 32, of 256 bytes each.
  assert.equal(limitOf(s1![4]), 100e9 / (1_062_500 + 32 * 256));
  assert.ok(limitOf(s1![5])! > 0);
});

Deno.test("scenarios after other suites do not take noise for the compiler", async () => {
  const target = new ScriptedTarget();
  const compile = async () => {
    const report = await Bench.run("scenarios", scenarios, target, RUN);
    return report.tables[1]!.rows[0]![1]!;
  };
  assert.doesNotMatch(String(await compile()), /not known/);
  assert.match(String(await compile()), /not known: the kernels were compiled before/);
});

Deno.test("scenarios show S6 to its last token", async () => {
  const target = new ScriptedTarget();
  Object.assign(target, {
    environment: { ...ENVIRONMENT, model: { ...ENVIRONMENT.model, contextLength: 2048 } },
  });
  const report = await Bench.run("scenarios", scenarios, target, RUN);
  const tokens = report.tables[2]!.rows.map(([cell]) => typeof cell === "object" && cell.value);
  assert.deepEqual(tokens.slice(-2), [480, 511]);
});

Deno.test("latency says where tokens come in bursts", async () => {
  const said = async (chained: number) => {
    const target = new ScriptedTarget();
    target.chained = chained;
    const report = await Bench.run("latency", latency, target, RUN);
    return report.tables[0]!.summary.join();
  };
  assert.match(await said(4), /chains up to 4 steps/);
  assert.equal(await said(1), "");
});

Deno.test("a row of prefix-cache that failed in any run says what it was", async () => {
  class Forgetful extends ScriptedTarget {
    #runs = 0;
    override async serveCached(requests: readonly BenchRequest[]) {
      const runs = await super.serveCached(requests);
      // The last repetition finds nothing.
      return ++this.#runs < 4 ? runs : runs.map((run) => ({ ...run, tokensSaved: 0 }));
    }
  }
  const report = await Bench.run("prefix-cache", prefixCache, new Forgetful(), RUN);
  const check = report.checks.find(({ name }) => name === "Same prompt")!;
  assert.deepEqual(check, { name: "Same prompt", ok: false, detail: "HIT, MISS, expected HIT" });
});

for (
  const [name, suite, count] of [
    ["prefix-cache", prefixCache, 3 + 3],
    ["paged-cache", pagedCache, 4 * 3],
  ] as const
) {
  Deno.test(`the trace of ${name} has all its runs, with their steps`, async () => {
    const servings: Serving[] = [];
    await Bench.run(name, suite, new ScriptedTarget(), RUN, {
      served: (_, serving) => servings.push(serving),
    });
    assert.equal(servings.length, count);
    assert.ok(servings.every(({ steps }) => steps.length > 0));
  });
}

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

Deno.test("in a Trace a step's kernels begin when the step before was read", () => {
  const trace = new Trace();
  const step = {
    tokens: 1,
    sequences: 1,
    chained: 1,
    timing: "together",
    kernels: [{ name: "embed", milliseconds: 2 }],
  } as const;
  trace.add("run", {
    requests: [{ ids: [1, 2], submitted: 0, times: [10, 20] }],
    steps: [
      { ...step, submitStart: 0, submitEnd: 1, readStart: 2, readEnd: 10 },
      { ...step, submitStart: 1, submitEnd: 2, readStart: 11, readEnd: 20 },
    ],
  });
  const { traceEvents } = JSON.parse(trace.toJson());
  const begins = traceEvents.filter((e: { name: string }) => e.name === "kernels, timed together")
    .map((e: { ts: number }) => e.ts / 1000);
  assert.deepEqual(begins, [1, 10]);
});
