import assert from "node:assert/strict";
import { join } from "node:path";
import { InvalidArgumentError } from "@commander-js/extra-typings";
import { percent } from "../../bench/report/format.ts";
import { percentage } from "../../cli/compare.ts";
import { exists, ROOT, runTvllm } from "./run_tvllm.ts";

const GOLDEN = join(ROOT, "fixtures/goldens/bench/latency.json");

/** Writes the golden report with all times multiplied by `factor`. */
function write(path: string, factor: number, change: (report: Golden) => void = () => {}): string {
  const report: Golden = JSON.parse(Deno.readTextFileSync(GOLDEN));
  for (const result of report.results) {
    if (result.unit !== "ms") continue;
    result.value *= factor;
    result.samples = result.samples?.map((sample) => sample * factor);
  }
  change(report);
  Deno.writeTextFileSync(path, JSON.stringify(report));
  return path;
}

interface Golden {
  format: string;
  results: { unit: string; value: number; samples: number[] | undefined }[];
  environment: { model: { sha256: string; name: string }; host: { threads: number } };
}

Deno.test("percentage() reads 5% and 5", () => {
  assert.deepEqual(["5%", "5", "0.5 %"].map(percentage), [0.05, 0.05, 0.005]);
  for (const text of ["", "%", "-5%", "five"]) {
    assert.throws(() => percentage(text), InvalidArgumentError, text);
  }
});

Deno.test("a percentage is printed as it was given", () => {
  for (let tenths = 0; tenths <= 1000; tenths++) {
    assert.equal(percent(percentage(`${tenths / 10}%`)), `${tenths / 10} %`);
  }
});

Deno.test("tvllm compare prints, writes and judges", async (t) => {
  const directory = await Deno.makeTempDir();
  const file = (name: string) => join(directory, name);
  const a = write(file("a.json"), 1);
  const slow = write(file("slow.json"), 1.5);

  await t.step("prints a table, and writes it to files", async () => {
    const files = ["--csv", file("c.csv"), "--output", file("c.md")];
    const { code, stdout, stderr } = await runTvllm(["compare", a, slow, ...files]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^# slow\.json against a\.json\n/);
    assert.equal(await Deno.readTextFile(file("c.md")), stdout);
    assert.match(
      await Deno.readTextFile(file("c.csv")),
      /^a\.json,slow\.json,latency,tiny,,ttft,/m,
    );
  });

  await t.step("--fail-if-slower ends with exit code 7, after the table", async () => {
    const failed = await runTvllm(["compare", a, slow, "--fail-if-slower", "7%"]);
    assert.equal(failed.code, 7);
    assert.match(failed.stdout, /slower/);
    assert.match(
      failed.stderr,
      /^error: Check failed: slower by more than 7 %: ttft by 50\.0 % in/,
    );
    for (const args of [[a, slow, "--fail-if-slower", "60%"], [slow, a, "--fail-if-slower", "5"]]) {
      assert.equal((await runTvllm(["compare", ...args])).code, 0, args.join());
    }
    const few = write(file("few.json"), 1, ({ results }) => {
      for (const result of results) result.samples?.splice(3);
    });
    const unjudged = await runTvllm(["compare", few, few, "--fail-if-slower", "5%"]);
    assert.equal(unjudged.code, 2);
    assert.match(unjudged.stderr, /no result has an interval: at least six repetitions .*-r 6/);
    const single = ["compare", a, a, "--only", "total_time"];
    const computed = await runTvllm([...single, "--fail-if-slower", "5%"]);
    assert.equal(computed.code, 2);
    assert.match(computed.stderr, /no result has an interval: .*give several runs .* six in all/);
    assert.doesNotMatch((await runTvllm(single)).stdout, /-r 6/);
  });

  await t.step("compares several runs of a side, and several sides", async () => {
    const runs = [`${a},${a},${a}`, `${slow},${slow},${slow}`, a];
    const { stdout } = await runTvllm(["compare", ...runs]);
    assert.match(
      stdout,
      /^# slow\.json, slow\.json, slow\.json against a\.json, a\.json, a\.json$/m,
    );
    assert.match(stdout, /^# a\.json against a\.json, /m);
    assert.match(stdout, /^\| Runs +\| 3 with 7 repetitions +\| 3 with 7 repetitions +\|$/m);
  });

  await t.step("another model is refused, except with --across model or in one file", async () => {
    const other = write(file("other.json"), 1, ({ environment: { model } }) => {
      model.sha256 = "1".repeat(64);
      model.name = "other";
    });
    const refused = await runTvllm(["compare", a, other]);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /the model differs \(Model: .*--across model to compare/);
    assert.equal((await runTvllm(["compare", a, other, "--across", "model,machine"])).code, 0);
    const both = [a, other].map((path) => JSON.parse(Deno.readTextFileSync(path)));
    Deno.writeTextFileSync(file("both.json"), JSON.stringify(both));
    const { stdout } = await runTvllm(["compare", file("both.json")]);
    assert.match(stdout, /^# other against tiny\n/);
  });

  await t.step("the configurations in one file are compared, and matched with a file", async () => {
    const two = write(file("two.json"), 1.5, (report) => report.environment.host.threads = 2);
    const both = [a, two].map((path) => JSON.parse(Deno.readTextFileSync(path)));
    Deno.writeTextFileSync(file("threads.json"), JSON.stringify(both));
    const within = await runTvllm(["compare", file("threads.json")]);
    assert.equal(within.code, 0, within.stderr);
    assert.match(within.stdout, /^# tiny, 2 threads against tiny, 1 thread\n/);
    assert.match(within.stdout, /^\| ttft .* slower +\|$/m);
    const matched = await runTvllm(["compare", file("threads.json"), two]);
    assert.match(matched.stdout, /^## latency, 2 threads: [^]*^\| Runs +\| 1 with 7 /m);
    assert.match(matched.stdout, /^Only on one side: latency of tiny \(1 thread\)\.$/m);
    assert.match((await runTvllm(["compare", a, two])).stdout, /^\| Threads +\| 1 +\| 2 +\|$/m);
  });

  await t.step("a file that is no report is refused, and no files are left", async () => {
    const old = write(file("old.json"), 1, (report) => report.format = "tvllm-bench-2");
    Deno.writeTextFileSync(file("x.json"), "{}");
    Deno.writeTextFileSync(file("text.json"), "no JSON");
    Deno.writeTextFileSync(file("empty.json"), "[]");
    const cut = write(file("cut.json"), 1, (report) => Reflect.deleteProperty(report, "run"));
    const unit = write(file("unit.json"), 1, ({ results }) => results[2]!.unit = "yards");
    const both = [a, unit].map((path) => JSON.parse(Deno.readTextFileSync(path)));
    Deno.writeTextFileSync(file("units.json"), JSON.stringify(both));
    for (
      const [paths, message] of [
        [
          [a],
          /Cannot compare .*a\.json: all its reports have the same model and configuration; name a/,
        ],
        [
          [a, old],
          /its format is tvllm-bench-2, but this tvllm reads tvllm-bench-3; run the benchmark again/,
        ],
        [[a, file("x.json")], /x\.json: it is not a report of tvllm bench --json/],
        [[a, file("empty.json")], /empty\.json: it has no report$/m],
        [[a, cut], /cut\.json: the report is damaged at run: .*expected object/],
        [[a, unit], /unit\.json: the report is damaged at results\[2\]\.unit: .*expected one of/],
        [[a, file("units.json")], /units\.json: .* damaged at \[1\]\.results\[2\]\.unit: /],
        [[a, file("none.json")], /Cannot read .*none\.json: there is no such file/],
        [[a, file("text.json")], /Cannot read .*text\.json: it is not JSON, so it is not a report/],
        [[a, directory], /Cannot read .*: it is not a file/],
        [
          [a, a, "--only", "tpot,nosuch"],
          /Cannot compare only nosuch: no report has this metric; they have .*decode_throughput.* ttft/,
        ],
        [[a, a, "--across", "moon"], /Expected one or more of workload, model, machine/],
      ] as const
    ) {
      const { code, stderr } = await runTvllm(["compare", ...paths, "--csv", file("left.csv")]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.ok(!exists(file("left.csv")));
    }
  });
  await Deno.remove(directory, { recursive: true });
});
