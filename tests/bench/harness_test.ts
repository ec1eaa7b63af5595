import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Harness, type Suite } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import type { Report } from "../../bench/report/report.ts";
import { breakdown } from "../../bench/suites/breakdown.ts";
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

Deno.test("Harness.run() saves after every case, and keeps finished cases when it is cut off", async () => {
  const controller = new AbortController();
  const target = new ScriptedTarget();
  // Four ways are interleaved, each with a warm-up and seven repetitions. Then each context has
  // eight runs. The second context is cut off.
  target.onServe = (count) => count === 4 * 8 + 8 + 3 && controller.abort(new Error("Interrupted"));
  const saved: number[] = [];
  const report = await Harness.run(throughput, target, {
    run: RUN,
    signal: controller.signal,
    save: (report: Report) => saved.push(report.tables.at(-1)!.rows.length),
  });
  assert.equal(report.complete, false);
  assert.equal(report.tables.length, 3);
  assert.equal(saved.at(-1), 1);
  assert.match(toMarkdown(report), /Cut off/);
});

Deno.test("Harness.run() rethrows an error, and saves a complete report of the finished cases", async () => {
  const target = new ScriptedTarget();
  target.onServe = (count) => {
    if (count === 2 * 8 * 4 + 9) throw new Error("lost the device");
  };
  let saved: Report | undefined;
  const save = (report: Report) => saved = structuredClone(report);
  const run = Harness.run(throughput, target, { run: { ...RUN, warmup: 9 }, save });
  await assert.rejects(run, /lost the device/);
  assert.equal(saved?.complete, false);
  assert.deepEqual(saved.tables.map(({ rows }) => rows.length), [3, 3, 0]);
});

Deno.test("the detokenizer suite, which awaits no device, reacts to a signal", async () => {
  const controller = new AbortController();
  const report = await Harness.run(detokenizer, new ScriptedTarget(), {
    run: RUN,
    signal: controller.signal,
    progress: ({ label }) => {
      if (label.startsWith("Medium")) setImmediate(() => controller.abort());
    },
  });
  assert.equal(report.complete, false);
  assert.deepEqual(report.tables[0]!.rows.map(([name]) => name), ["Short"]);
});

Deno.test("prefill has its own limit: the head for one token, and weights read once", async () => {
  // The head, 512 × 64 of a million weights, is computed for the last of 64 tokens only. In
  // attention, one layer sees 64 · 65 / 2 positions, the one with a window 48 · 49 / 2 + 16 · 48.
  const operations = 2 * (64 * (1e6 - 512 * 64) + 512 * 64) + 4 * 64 * (2080 + 1176 + 768);
  const arithmetic = 1e12 * 64 / operations;
  const read = (bandwidth: number) => bandwidth * 1e9 * 64 / 1_062_500;
  for (const [bandwidth, expected] of [[100, arithmetic], [1, read(1)]] as const) {
    const report = await Harness.run(latency, new ScriptedTarget(), { run: RUN, bandwidth });
    assert.equal(resultOf(report, "prefill_throughput").limit, expected);
  }
});

Deno.test("a scenario's limit is computed for its own length", async () => {
  const report = await Harness.run(scenarios, new ScriptedTarget(), { run: RUN });
  const s1 = { scenario: "S1", promptTokens: 16, maxTokens: 32 };
  // The KV cache of 16 tokens and of half of 32, at 256 bytes per token.
  const [first] = report.results.filter(({ metric }) => metric === "decode_throughput");
  assert.equal(first!.limit, 100e9 / (1_062_500 + 32 * 256));
  assert.ok(resultOf(report, "prefill_throughput", s1).limit! > 0);
});

Deno.test("scenarios after other suites do not report noise as compilation", async () => {
  const target = new ScriptedTarget();
  const compile = async () => {
    const report = await Harness.run(scenarios, target, { run: RUN });
    return report.tables.find(({ title }) => title === "Metrics")!.rows[0]![1]!;
  };
  assert.doesNotMatch(String(await compile()), /not known/);
  assert.match(String(await compile()), /not known: the kernels were already compiled/);
});

Deno.test("scenarios show S6 to its last token", async () => {
  const target = new ScriptedTarget();
  Object.assign(target, {
    environment: { ...ENVIRONMENT, model: { ...ENVIRONMENT.model, contextLength: 2048 } },
  });
  const report = await Harness.run(scenarios, target, { run: RUN });
  const steps = report.results.filter(({ metric }) => metric === "step_throughput");
  assert.deepEqual(
    steps.flatMap(({ settings }) => settings.tokens ?? []).slice(-2),
    [480, 511],
  );
  // The chart needs every step.
  assert.deepEqual(
    steps.flatMap(({ settings }) => settings.token ?? []),
    Array.from({ length: 511 }, (_, i) => i + 1),
  );
});

Deno.test("latency says if tokens arrive in bursts", async () => {
  const said = async (chained: number) => {
    const target = new ScriptedTarget();
    target.chained = chained;
    const report = await Harness.run(latency, target, { run: RUN });
    return report.tables[0]!.notes.join();
  };
  assert.match(await said(4), /chains up to 4 steps/);
  assert.doesNotMatch(await said(1), /chains/);
});

Deno.test("prefix-cache expects misses of models with recurrent layers, and says why", async () => {
  class Recurrent extends ScriptedTarget {
    override readonly environment = {
      ...ENVIRONMENT,
      model: { ...ENVIRONMENT.model, states: { bytes: 1000, operations: 2000 } },
    };
    override withSession<T>(_: SessionOptions, use: (session: Session) => Promise<T>) {
      return super.withSession({ sharePrefixes: false }, use);
    }
  }
  const report = await Harness.run(prefixCache, new Recurrent(), { run: RUN });
  assert.ok(report.checks.every(({ ok }) => ok));
  const { rows, notes } = report.tables[0]!;
  assert.deepEqual(rows.map(([, expected]) => expected), Array(5).fill("MISS"));
  assert.match(notes.join(), /recurrent layers/);
});

Deno.test("a row of prefix-cache that failed in any run shows all outcomes", async () => {
  class Forgetful extends ScriptedTarget {
    #sessions = 0;
    override withSession<T>(
      { sharePrefixes = false }: SessionOptions,
      use: (session: Session) => Promise<T>,
    ) {
      // The last repetition finds no shared prefix.
      return super.withSession({ sharePrefixes: sharePrefixes && ++this.#sessions < 8 }, use);
    }
  }
  const report = await Harness.run(prefixCache, new Forgetful(), { run: RUN });
  const check = report.checks.find(({ name }) => name === "Same prompt")!;
  assert.deepEqual(check, { name: "Same prompt", ok: false, detail: "HIT, MISS, expected HIT" });
});

for (
  const [name, suite, count] of [
    ["prefix-cache", prefixCache, 7 + 7 * 5],
    ["paged-cache", pagedCache, 4 * 7 * 2],
  ] as const
) {
  Deno.test(`the trace of ${name} contains everything that was served, with its steps`, async () => {
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
  assert.equal(servings, 2 * (2 + 7));
  assert.equal(resultOf(report, "throughput", { requests: 1 }).samples?.length, 7);
  assert.deepEqual(report.warmUps.map(({ runs }) => runs), [2, 2]);
});

/** Serves at the given paces, one per serving. The last pace is used for all further servings. */
class Timed extends ScriptedTarget {
  servings = 0;
  constructor(readonly paces: readonly number[]) {
    super();
    this.onServe = (count) => {
      this.servings = count + 1;
      // Cancels the differences between the repetitions of the scripted target.
      this.pace = this.paces[Math.min(count, this.paces.length - 1)]! / (1 + 0.01 * (count % 3));
    };
  }
}

Deno.test("warm-ups end when three in a row take the same time, or at five", async () => {
  const run = { ...RUN, warmup: "steady", concurrency: [1] } as const;
  for (
    const [paces, runs, steady] of [
      [[1], 3, true],
      [[9, 1], 4, true],
      [[9, 1, 1, 1.04, 1.02], 5, false],
      [[1, 1.02, 1.01], 3, true],
      [[1, 2, 3, 4, 5, 1], 5, false],
    ] as const
  ) {
    const report = await Harness.run(scalability, new Timed(paces), {
      run: { ...run, concurrency: [1] },
    });
    const [warmUp] = report.warmUps;
    assert.deepEqual([warmUp!.runs, warmUp!.steady], [runs, steady], paces.join());
    assert.match(
      toMarkdown(report),
      steady
        ? /three agreed within 3 % in 1 of 1 case +\|/
        : /the maximum of five was reached in 1 at once/,
    );
  }
});

Deno.test("a warning names a case in which kernels were compiled while it was measured", async () => {
  class Compiling extends ScriptedTarget {
    override compiled = 5;
    override serve(...args: Parameters<ScriptedTarget["serve"]>) {
      // Compiles for two requests at once, in the run after the warm-up.
      if (args[0].length === 2 && ++this.#pairs === 2) this.compiled++;
      return super.serve(...args);
    }
    #pairs = 0;
  }
  const report = await Harness.run(scalability, new Compiling(), { run: RUN });
  assert.match(report.warnings.join(), /compiled while 2 at once was measured/);
  const still = await Harness.run(scalability, new ScriptedTarget(), { run: RUN });
  assert.doesNotMatch(still.warnings.join(), /compiled/);
});

Deno.test("a result above its limit is flagged with a warning, but fails no check", async () => {
  const target = new ScriptedTarget();
  target.pace = 1e-6;
  const report = await Harness.run(scalability, target, {
    run: { ...RUN, maxTokens: 150 },
    bandwidth: 0.001,
  });
  assert.ok(report.checks.every(({ ok }) => ok));
  assert.match(
    report.warnings.join(),
    /results? above the limits \(first: .+\), so the limits are too low/,
  );
  assert.match(toMarkdown(report), /\(above its limit\)/);
});

Deno.test("only noise in the main results of a report makes it call the machine noisy", async () => {
  const noisy = await Harness.run(scalability, new Timed([1, 1, 2, 1, 3, 1, 2, 1, 3]), {
    run: RUN,
  });
  assert.match(noisy.warnings.join(), /the machine was noisy/);
  class Tokenizing extends ScriptedTarget {
    #calls = 0;
    constructor() {
      super();
      const { encode } = this.text;
      // Calls take 0.5 ms to 3.5 ms.
      this.text.encode = (text) => {
        for (let i = this.#calls++ % 7; i > 0; i--) encode("");
        return encode(text);
      };
    }
  }
  const still = await Harness.run(breakdown, new Tokenizing(), { run: RUN });
  assert.doesNotMatch(still.warnings.join(), /noisy/);
});

/** Gives a prompt served with others other tokens, which are less probable than the best. */
class Other extends ScriptedTarget {
  constructor(readonly margin: number) {
    super();
  }
  override serve(...args: Parameters<ScriptedTarget["serve"]>) {
    const serving = super.serve(...args);
    if (serving.requests.length < 2) return serving;
    const [first, ...rest] = serving.requests;
    return { ...serving, requests: [{ ...first!, ids: first!.ids.map(() => 0) }, ...rest] };
  }
  override margins(_: readonly number[], ids: readonly number[]) {
    return Promise.resolve(ids.map((id) => id === 0 ? this.margin : 0));
  }
}

Deno.test("other tokens for the same prompt fail a check, unless they are as probable as the best", async () => {
  const checkOf = async (margin: number) => {
    const report = await Harness.run(scalability, new Other(margin), { run: RUN });
    return report.checks.find(({ name }) => name === "same tokens each time")!;
  };
  const wrong = await checkOf(0.5);
  assert.equal(wrong.ok, false);
  assert.match(wrong.detail, /2 at once \(0\.50 nats\)/);
  const tie = await checkOf(0.01);
  assert.equal(tie.ok, true);
  assert.match(tie.detail, /except for 1 near-tie within/);
});

Deno.test("sampled requests are neither compared nor hashed", async () => {
  const run = { ...RUN, sampling: { ...RUN.sampling, temperature: 0.8 } };
  const report = await Harness.run(scalability, new Other(9), { run });
  assert.ok(report.checks.every(({ ok }) => ok));
});

Deno.test("results of two runs match by metric and settings, whatever their tables contain", async () => {
  const before = await Harness.run(scalability, new ScriptedTarget(), { run: RUN });
  const target = new ScriptedTarget();
  target.pace = 2;
  const after = await Harness.run(scalability, target, { run: RUN });
  for (const { metric, settings, unit } of before.results) {
    assert.equal(resultOf(after, metric, settings).unit, unit);
  }
  const settings = { requests: 2 };
  const ratio = numberOf(before, "throughput", settings) / numberOf(after, "throughput", settings);
  assert.ok(Math.abs(ratio - 2) < 1e-9);
});

Deno.test("two results with the same metric and settings cannot be recorded", async () => {
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

Deno.test("in a Trace, a step's kernels begin when the step before was read", () => {
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
