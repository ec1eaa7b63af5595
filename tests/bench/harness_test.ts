import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Harness, type Suite } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import type { Report } from "../../bench/report/report.ts";
import { detokenizer } from "../../bench/suites/detokenizer.ts";
import { latency } from "../../bench/suites/latency.ts";
import { pagedCache } from "../../bench/suites/paged_cache.ts";
import { prefixCache } from "../../bench/suites/prefix_cache.ts";
import { scalability } from "../../bench/suites/scalability.ts";
import { scenarios } from "../../bench/suites/scenarios.ts";
import { throughput } from "../../bench/suites/throughput.ts";
import { Trace } from "../../bench/harness/trace.ts";
import type { Serving, Session, SessionOptions } from "../../bench/targets/target.ts";
import { ENVIRONMENT, numberOf, resultOf, RUN, ScriptedTarget } from "./scripted_target.ts";

Deno.test("Harness.run() saves after every case, and keeps what was done when it is cut off", async () => {
  const controller = new AbortController();
  const target = new ScriptedTarget();
  // Four servings a case: one to warm up, three that count. The third case is cut off.
  target.onServe = (count) => count === 9 && controller.abort(new Error("Interrupted"));
  const saved: number[] = [];
  const report = await Harness.run(throughput, target, {
    run: RUN,
    signal: controller.signal,
    save: (report: Report) => saved.push(report.tables[0]!.rows.length),
  });
  assert.equal(report.complete, false);
  assert.deepEqual(saved, [1, 2, 2]);
  assert.match(toMarkdown(report), /Cut off/);
});

Deno.test("Harness.run() passes on what fails, and saves a whole report of what was done", async () => {
  const target = new ScriptedTarget();
  target.onServe = (count) => {
    if (count === 6) throw new Error("lost the device");
  };
  let saved: Report | undefined;
  const save = (report: Report) => saved = structuredClone(report);
  const run = Harness.run(scalability, target, { run: RUN, save });
  await assert.rejects(run, /lost the device/);
  assert.equal(saved?.complete, false);
  assert.equal(saved.tables[0]!.rows.length, 1);
  const checks = saved.checks.map(({ name }) => name);
  assert.deepEqual(checks, ["same tokens each time", "within the limits"]);
});

Deno.test("the detokenizer suite, which waits for nothing, hears of a signal", async () => {
  const controller = new AbortController();
  const report = await Harness.run(detokenizer, new ScriptedTarget(), {
    run: RUN,
    signal: controller.signal,
    progress: (label) => {
      if (label.startsWith("Medium")) setImmediate(() => controller.abort());
    },
  });
  assert.equal(report.complete, false);
  assert.deepEqual(report.tables[0]!.rows.map(([name]) => name), ["Short"]);
});

Deno.test("prefill has a limit of its own: the head for one token, and weights read once", async () => {
  // The head, 512 × 64 of a million weights, is for the last of 64 tokens; attention, of 32.5
  // positions on average, has 4 · 32.5 · 64 · 2 operations.
  const weights = 1e6 - 512 * 64 * 63 / 64;
  const arithmetic = 1e12 / (2 * weights + 4 * 32.5 * 64 * 2);
  const read = (bandwidth: number) => bandwidth * 1e9 * 64 / 1_062_500;
  for (const [bandwidth, expected] of [[100, arithmetic], [1, read(1)]] as const) {
    const report = await Harness.run(latency, new ScriptedTarget(), { run: RUN, bandwidth });
    assert.equal(resultOf(report, "prefill_throughput").limit, expected);
  }
});

Deno.test("a scenario's limit is that of its own length", async () => {
  const report = await Harness.run(scenarios, new ScriptedTarget(), { run: RUN });
  const s1 = { scenario: "S1", promptTokens: 16, maxTokens: 32 };
  // 16 tokens, and half of 32, of 256 bytes each.
  assert.equal(resultOf(report, "decode_throughput", s1).limit, 100e9 / (1_062_500 + 32 * 256));
  assert.ok(resultOf(report, "prefill_throughput", s1).limit! > 0);
});

Deno.test("scenarios after other suites do not take noise for the compiler", async () => {
  const target = new ScriptedTarget();
  const compile = async () => {
    const report = await Harness.run(scenarios, target, { run: RUN });
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
  const report = await Harness.run(scenarios, target, { run: RUN });
  const steps = report.results.filter(({ metric }) => metric === "step_throughput");
  assert.deepEqual(steps.slice(-2).map(({ settings }) => settings.tokens), [480, 511]);
});

Deno.test("latency says where tokens come in bursts", async () => {
  const said = async (chained: number) => {
    const target = new ScriptedTarget();
    target.chained = chained;
    const report = await Harness.run(latency, target, { run: RUN });
    return report.tables[0]!.notes.join();
  };
  assert.match(await said(4), /chains up to 4 steps/);
  assert.equal(await said(1), "");
});

Deno.test("a row of prefix-cache that failed in any run says what it was", async () => {
  class Forgetful extends ScriptedTarget {
    #sessions = 0;
    override withSession<T>(
      { sharePrefixes = false }: SessionOptions,
      use: (session: Session) => Promise<T>,
    ) {
      // The last repetition finds nothing.
      return super.withSession({ sharePrefixes: sharePrefixes && ++this.#sessions < 4 }, use);
    }
  }
  const report = await Harness.run(prefixCache, new Forgetful(), { run: RUN });
  const check = report.checks.find(({ name }) => name === "Same prompt")!;
  assert.deepEqual(check, { name: "Same prompt", ok: false, detail: "HIT, MISS, expected HIT" });
});

for (
  const [name, suite, count] of [
    ["prefix-cache", prefixCache, 3 + 3 * 4],
    ["paged-cache", pagedCache, 4 * 3 * 2],
  ] as const
) {
  Deno.test(`the trace of ${name} has all that it served, with its steps`, async () => {
    const servings: Serving[] = [];
    await Harness.run(suite, new ScriptedTarget(), {
      run: RUN,
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
  const report = await Harness.run(scalability, target, { run: { ...RUN, warmup: 2 } });
  assert.equal(servings, 2 * (2 + 3));
  assert.equal(resultOf(report, "throughput", { requests: 1 }).samples?.length, 3);
});

Deno.test("a result above its limit fails a check and is flagged", async () => {
  const target = new ScriptedTarget();
  target.interval = 1e-6;
  const report = await Harness.run(scalability, target, {
    run: { ...RUN, maxTokens: 150 },
    bandwidth: 0.001,
  });
  assert.equal(report.checks.find((c) => c.name === "within the limits")?.ok, false);
  assert.match(toMarkdown(report), /above its limit: wrong/);
});

Deno.test("a prompt that gives other tokens in another run fails a check", async () => {
  class Wrong extends ScriptedTarget {
    override serve(...args: Parameters<ScriptedTarget["serve"]>) {
      const serving = super.serve(...args);
      if (serving.requests.length < 2) return serving;
      const [first, ...rest] = serving.requests;
      return { ...serving, requests: [{ ...first!, ids: first!.ids.map(() => 0) }, ...rest] };
    }
  }
  const report = await Harness.run(scalability, new Wrong(), { run: RUN });
  const check = report.checks.find((c) => c.name === "same tokens each time")!;
  assert.equal(check.ok, false);
  assert.match(check.detail, /2 at once/);
});

Deno.test("two runs are compared by metric and settings, whatever their tables say", async () => {
  const before = await Harness.run(scalability, new ScriptedTarget(), { run: RUN });
  const target = new ScriptedTarget();
  target.interval = 4;
  const after = await Harness.run(scalability, target, { run: RUN });
  for (const { metric, settings, unit } of before.results) {
    assert.equal(resultOf(after, metric, settings).unit, unit);
  }
  // 5 tokens in 10 ms and four intervals, of which the median is 0.1 ms longer.
  const settings = { requests: 2 };
  assert.ok(Math.abs(numberOf(before, "throughput", settings) - 10 / 0.0184) < 1e-6);
  assert.ok(Math.abs(numberOf(after, "throughput", settings) - 10 / 0.0264) < 1e-6);
});

Deno.test("a result is recorded once: two with the same metric and settings could not be told apart", async () => {
  const twice: Suite = {
    ...scalability,
    run: (harness) => {
      const metric = { id: "throughput", unit: "tok/s" } as const;
      harness.at({ requests: 1, context: 32 }).value(metric, 1);
      harness.at({ context: 32, requests: 2 }).value(metric, 2);
      harness.at({ context: 32, requests: 1 }).value(metric, 3);
      return Promise.resolve();
    },
  };
  await assert.rejects(
    Harness.run(twice, new ScriptedTarget(), { run: RUN }),
    /Cannot record throughput \(context 32, requests 1\): it was recorded before/,
  );
});

Deno.test("Trace has a span for each request, step and kernel", async () => {
  const trace = new Trace();
  const target = new ScriptedTarget();
  const requests = [{ promptIds: [1, 2, 3], maxTokens: 5 }];
  const serving = await target.withSession(
    {},
    (session) => session.serve(requests, { profile: true }),
  );
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
