import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { RandomSource } from "../../engine/files/random_weights.ts";
import {
  compare,
  type CompareOptions,
  type Row,
  slowerThan,
} from "../../bench/report/comparison/comparison.ts";
import { ratioOf, studentQuantile } from "../../bench/report/comparison/ratio.ts";
import { comparisonCsv, comparisonMarkdown } from "../../bench/report/comparison/views.ts";
import { keyOf, type Report, reportSchema, type Result } from "../../bench/report/report.ts";
import { medianOf } from "../../bench/report/stats.ts";

const GOLDEN = fileURLToPath(new URL("../../fixtures/goldens/bench/latency.json", import.meta.url));

/** The golden report of scripted measurements, with all times multiplied by `factor`. */
function report(factor = 1, change: (report: Report) => void = () => {}): Report {
  const made = reportSchema.parse(JSON.parse(Deno.readTextFileSync(GOLDEN)));
  for (const result of made.results) {
    const by = { "ms": factor, "tok/s": 1 / factor }[result.unit as string] ?? 1;
    result.value *= by;
    if (result.samples) result.samples = result.samples.map((sample) => sample * by);
  }
  change(made);
  return made;
}

function compared(a: Report[], b: Report[], options: CompareOptions = {}) {
  return compare({ name: "a.json", reports: a }, { name: "b.json", reports: b }, options);
}

function rowsOf(a: Report[], b: Report[], options: CompareOptions = {}): Map<string, Row> {
  const { parts } = compared(a, b, options);
  return new Map(parts.flatMap(({ rows }) => rows.map((row) => [keyOf(row), row])));
}

Deno.test("compare() finds slower times and rates, and no difference between equal reports", () => {
  const slower = rowsOf([report()], [report(1.5)]);
  for (const key of ["ttft", "decode_throughput", "tpot (context 32)"]) {
    assert.equal(slower.get(key)!.verdict, "slower", key);
    assert.ok(Math.abs(slower.get(key)!.slowdown! - 0.5) < 1e-9, key);
  }
  assert.ok(Math.abs(slower.get("decode_throughput")!.ratio! - 1 / 1.5) < 1e-9);
  const faster = rowsOf([report(1.5)], [report()]);
  assert.equal(faster.get("ttft")!.verdict, "faster");
  const same = rowsOf([report()], [report()]);
  assert.ok(same.size > 20);
  for (const [key, { verdict }] of same) {
    assert.ok(verdict === "no difference shown" || verdict === "unknown", key);
  }
});

Deno.test("compare() gives no verdict on results with no samples, or too few", () => {
  const few = (made: Report) => {
    for (const result of made.results) result.samples?.splice(5);
  };
  const rows = rowsOf([report(1, few)], [report(2, few)]);
  for (const [key, { verdict, interval }] of rows) {
    assert.equal(verdict, "unknown", key);
    assert.equal(interval, undefined);
  }
  assert.equal(rowsOf([report()], [report(2)]).get("device_memory (purpose total)")!.ratio, 1);
});

Deno.test("slowerThan() requires a slowdown that is significant and above the share", () => {
  const shares = (factor: number, share: number) =>
    slowerThan(compared([report()], [report(factor)]), share).length > 0;
  assert.ok(shares(1.5, 0.05));
  assert.ok(!shares(1.5, 0.6), "less than asked for");
  assert.ok(!shares(0.5, 0.05), "faster");
  // The samples spread over 2 %, so two equal runs may differ by 3 %.
  assert.ok(!shares(1.03, 0.01), "not shown");
});

for (
  const [condition, change] of [
    ["workload", ({ run }) => run.promptTokens++],
    ["workload", ({ environment }) => environment.model.contextLength++],
    ["model", ({ environment }) => environment.model.sha256 = "1".repeat(64)],
    ["machine", ({ environment }) => environment.device.description = "Other"],
    ["machine", ({ environment }) => environment.host.processor = "Other"],
  ] as [string, (report: Report) => void][]
) {
  Deno.test(`compare() refuses another ${condition} unless allowed: ${change}`, () => {
    const other = report(1, change);
    const refusal = new RegExp(`^Cannot compare latency: the ${condition} differs \\(.*--across`);
    assert.throws(() => compared([report()], [other]), (error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, refusal);
      return true;
    });
    // One such run among several of a side is enough.
    if (condition !== "model") {
      assert.throws(() => compared([report()], [report(), other]), RangeError);
    }
    const across = [condition] as CompareOptions["across"] & object;
    const { parts: [part] } = compared([report()], [other], { across });
    assert.deepEqual(part!.differences.map((one) => one.condition), [condition]);
  });
}

Deno.test("compare() reports and allows other versions and settings of the engine", () => {
  const other = report(1, ({ environment: { engine } }) => {
    engine.commit = "fedcba";
    engine.kvType = "f32";
  });
  const { parts: [part] } = compared([report()], [other]);
  assert.deepEqual(part!.differences.map(({ name, b }) => [name, b]), [
    ["tvllm", "1.2.3, commit fedcba"],
    ["KV cache", "f32"],
  ]);
});

Deno.test("compare() matches suites and models, and names those that only one side has", () => {
  const model = (sha: string) => (made: Report) => {
    made.environment.model.sha256 = sha.repeat(64);
    made.environment.model.name = sha;
  };
  const other = report(1, (made) => made.suite = "other");
  const two = [report(1, model("a")), report(1, model("b"))];
  const { parts, missing } = compared([...two, other], [report(1, model("b"))]);
  assert.deepEqual(parts.map(({ a }) => a[0]!.environment.model.name), ["b"]);
  assert.deepEqual(missing, ["latency of a", "other of tiny"]);
  assert.throws(() => compared([other], [report()]), /no suite is in both/);
});

/** The golden report with another number of threads, KV type and kind of device. */
function configured(threads: number, kvType: "f16" | "f32" = "f16", kind: "gpu" | "cpu" = "cpu") {
  return report(1, ({ environment: { host, engine, device } }) => {
    host.threads = threads;
    engine.kvType = kvType;
    device.kind = kind;
  });
}

/** The configuration and the number of runs of each part. */
function partsOf(a: Report[], b: Report[]) {
  const { parts, missing } = compared(a, b);
  return {
    parts: parts.map((part) => [part.configuration, part.a.length, part.b.length]),
    missing,
  };
}

Deno.test("compare() matches the configurations of sides that have several", () => {
  const sweep = [configured(1), configured(2), configured(1, "f32"), configured(2, "f32")];
  assert.deepEqual(partsOf([...sweep, ...sweep], sweep), {
    parts: [
      ["1 thread, f16 KV cache", 2, 1],
      ["2 threads, f16 KV cache", 2, 1],
      ["1 thread, f32 KV cache", 2, 1],
      ["2 threads, f32 KV cache", 2, 1],
    ],
    missing: [],
  });
  assert.deepEqual(partsOf(sweep.slice(0, 2), [configured(2, "f32")]), {
    parts: [["2 threads", 1, 1]],
    missing: ["latency of tiny (1 thread)"],
  });
  const devices = [configured(1, "f16", "gpu"), configured(2)];
  assert.deepEqual(partsOf(devices, [configured(1)]).parts, [["on the CPU", 1, 1]]);
  assert.throws(
    () => compared(sweep.slice(0, 2), [configured(4)]),
    /no measurement is in both \(latency of tiny \(1 thread\); latency of tiny \(2 threads\); latency of tiny \(4 threads\)\)$/,
  );
  // The heading and the CSV say which is which.
  const views = [compared(sweep, sweep)];
  assert.match(comparisonMarkdown(views), /^## latency, 2 threads, f32 KV cache: /m);
  assert.match(comparisonCsv(views), /,latency,tiny,"2 threads, f32 KV cache",ttft,/);
});

Deno.test("compare() pools runs for which tvllm chose other numbers of threads, and says so", () => {
  const runs = [1, 2, 1].map((threads, i) => {
    const run = configured(threads);
    run.run.date = `2026-01-0${i + 1}T00:00:00.000Z`;
    return run;
  });
  const { parts: [part] } = compared(runs, [configured(1)]);
  assert.equal(part!.a.length, 3);
  assert.deepEqual(part!.differences, [{ name: "Threads", a: "1 or 2", b: "1" }]);
});

Deno.test("compare() compares only the requested metrics", () => {
  const rows = rowsOf([report()], [report()], { only: ["tpot"] });
  assert.ok(rows.size > 3);
  for (const { metric } of rows.values()) assert.equal(metric, "tpot");
});

Deno.test("in interleaved runs, samples of the same repetition are paired", () => {
  // The machine becomes twice as slow with each repetition; B takes 4 % longer than A each time.
  const side = (name: string, factor: number) =>
    report(1, (made) => {
      made.interleaved = { id: "x", side: name };
      const tpot = made.results.find((result) => keyOf(result) === "tpot")!;
      tpot.samples = [1, 2, 4, 8, 16, 32, 64].map((time, i) => time * factor * (1 + i % 3 / 1000));
      tpot.value = medianOf(tpot.samples);
    });
  const paired = rowsOf([side("A", 1)], [side("B", 1.04)]).get("tpot")!;
  assert.equal(paired.verdict, "slower");
  assert.ok(Math.abs(paired.ratio! - 1.04) < 1e-9);
  const apart = side("B", 1.04);
  apart.interleaved = { id: "y", side: "B" };
  assert.equal(rowsOf([side("A", 1)], [apart]).get("tpot")!.verdict, "no difference shown");
});

/** Results of runs whose values and samples are drawn from a log-normal distribution. */
function draw(random: RandomSource, spread: { readonly runs: number; readonly within: number }) {
  const normal = () => {
    const [u, v] = [random.uint32(), random.uint32()].map((n) => (n + 1) / (2 ** 32 + 1));
    return Math.sqrt(-2 * Math.log(u!)) * Math.cos(2 * Math.PI * v!);
  };
  return (shift = 0): Result => {
    const run = shift + spread.runs * normal();
    const samples = Array.from({ length: 7 }, () => Math.exp(run + spread.within * normal()));
    return { metric: "tpot", settings: {}, unit: "ms", value: medianOf(samples), samples };
  };
}

/** The number of comparisons, of 1,000, whose interval excludes 1, which is no difference. */
function differences(
  make: (shift?: number) => Result,
  { runs, shift = 0 }: { readonly runs: number; readonly shift?: number },
): number {
  let found = 0;
  for (let i = 0; i < 1000; i++) {
    const [a, b] = [0, shift].map((by) => Array.from({ length: runs }, () => make(by)));
    const [low, high] = ratioOf(a!, b!).interval!;
    if (low > 1 || high < 1) found++;
  }
  return found;
}

Deno.test("equal runs are called different in at most 7 of 100 comparisons", () => {
  for (const runs of [0, 0.02, 0.04]) {
    const make = draw(new RandomSource(5), { runs, within: 0.02 });
    assert.ok(differences(make, { runs: 1 }) <= 70, `runs ${runs}`);
    // Several runs show how far runs differ, even if their repetitions differ less.
    const several = differences(draw(new RandomSource(5), { runs: 0.1, within: 0.001 }), {
      runs: 4,
    });
    assert.ok(several > 25 && several <= 70, `${several}`);
  }
});

Deno.test("a difference of a tenth is found if repetitions differ by a hundredth", () => {
  const make = draw(new RandomSource(6), { runs: 0.01, within: 0.01 });
  assert.ok(differences(make, { runs: 1, shift: 0.1 }) >= 650);
  assert.ok(differences(make, { runs: 5, shift: 0.1 }) >= 990);
});

Deno.test("studentQuantile() agrees with published tables", () => {
  for (
    const [freedom, quantile] of [[4, 2.7764], [6, 2.4469], [10, 2.2281], [30, 2.0423]] as const
  ) {
    assert.ok(Math.abs(studentQuantile(freedom) / quantile - 1) < 5e-4, `${freedom}`);
  }
});

Deno.test("a comparison states the share of false differences, whatever its number of measures", () => {
  const side = (name: string) => report(1, (made) => made.interleaved = { id: "x", side: name });
  for (const only of [["e2e"], ["e2e", "ttft"], undefined]) {
    const options = only ? { only } : {};
    const apart = comparisonMarkdown([compared([report()], [report()], options)]);
    const share = "a measure without a difference is called different by chance in";
    assert.ok(apart.includes(`95 % intervals: ${share} about 1 of 20 comparisons.`), apart);
    const paired = comparisonMarkdown([compared([side("A")], [side("B")], options)]);
    assert.ok(paired.includes(`95 % intervals: ${share} at most 1 of 20 comparisons.`), paired);
  }
});

Deno.test("a comparison without intervals says what is missing", () => {
  const said = (a: Report, b: Report, options: CompareOptions = {}) =>
    /\*\*No result has an interval: (.*)\.\*\*/.exec(
      comparisonMarkdown([compared([a], [b], options)]),
    )?.[1];
  const cut = (samples: number, side?: string) =>
    report(1, (made) => {
      for (const result of made.results) result.samples?.splice(samples);
      if (side !== undefined) made.interleaved = { id: "x", side };
    });
  assert.equal(said(report(), report()), undefined);
  assert.match(said(cut(5), cut(5))!, /^at least six repetitions are needed \(-r 6\)$/);
  assert.match(said(cut(6, "A"), cut(6, "B"))!, /^at least seven rounds .*raise --budget/);
  assert.match(said(report(), report(), { only: ["total_time"] })!, /^they have no value for each/);
  assert.match(said(report(), report(), { only: ["x"] })!, /^the sides have no result in common$/);
  const zero = report(1, (made) => {
    for (const result of made.results) Object.assign(result, { value: 0 }).samples?.fill(0);
  });
  assert.equal(said(zero, zero), "their values are 0 or do not vary");
});

Deno.test("a comparison as markdown and CSV", () => {
  const comparison = compared([report()], [
    report(1.5, (made) => {
      made.outputHash = "0123";
      made.complete = false;
      made.checks.push({ name: "x", ok: false, detail: "y" });
    }),
  ]);
  const markdown = comparisonMarkdown([comparison]);
  assert.match(markdown, /^# b\.json against a\.json\n\n## latency: \d+ slower\n/);
  assert.match(
    markdown,
    /^\| tpot +\| [\d.]+ ms +\| [\d.]+ ms +\| 1\.500 \[1\.\d{3}, 1\.\d{3}\] \| slower +\|$/m,
  );
  assert.match(markdown, /ran at different times/);
  assert.match(markdown, /sides generated different tokens/);
  assert.match(markdown, /\*\*A run was cut off\.\*\*\n\n\*\*A check failed: x \(y\)\.\*\*/);
  const [head, ...lines] = comparisonCsv([comparison]).trimEnd().split("\n");
  assert.equal(
    head,
    "a,b,suite,model,configuration,metric,unit,value_a,value_b,ratio,low,high,verdict",
  );
  const tpot = lines.find((line) => line.includes(",tpot,"))!.split(",");
  assert.deepEqual(tpot.slice(0, 7), ["a.json", "b.json", "latency", "tiny", "", "tpot", "ms"]);
  assert.equal(tpot.at(-1), "slower");
  assert.ok(Math.abs(Number(tpot[8]) / Number(tpot[7]) - 1.5) < 1e-9);
});
