import { InvalidArgumentError } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { text } from "../../bench/report/format.ts";
import { toCsv } from "../../bench/report/csv.ts";
import { reportSchema } from "../../bench/report/report.ts";
import { counts } from "../../cli/bench.ts";
import { modelSpecs } from "../../cli/model_specs.ts";
import { ReportFiles } from "../../cli/report_files.ts";
import { baseEnv, LAUNCHER, runTvllm } from "./run_tvllm.ts";

Deno.test("counts() accepts lists and ranges", () => {
  const parse = counts(256);
  assert.deepEqual(parse("1,2,4"), [1, 2, 4]);
  assert.deepEqual(parse("8,1-3,2"), [1, 2, 3, 8]);
  assert.deepEqual(counts(1024)("512,1024"), [512, 1024]);
  for (const text of ["", "0", "1,", "3-1", "1-300", "x", "-1"]) {
    assert.throws(() => parse(text), InvalidArgumentError, text);
  }
});

Deno.test("tvllm bench schema prints the JSON Schema of the results", async () => {
  const { code, stdout } = await runTvllm(["bench", "schema"]);
  assert.equal(code, 0);
  const [one, all] = JSON.parse(stdout).anyOf;
  assert.equal(one.properties.format.const, "tvllm-bench-3");
  assert.ok(one.required.includes("outputHash"));
  assert.equal(all.items.properties.format.const, "tvllm-bench-3");
});

Deno.test("--json writes an array for bench all, even if only one suite is done", async () => {
  const { default: scalability } = await import(
    "../../fixtures/goldens/bench/scalability.json",
    { with: { type: "json" } }
  );
  for (const [several, expected] of [[true, [scalability]], [false, scalability]] as const) {
    const files = new ReportFiles({}, { several, markdown: {} });
    files.save("0 scalability", reportSchema.parse(scalability));
    assert.deepEqual(JSON.parse(files.json()), expected);
  }
});

Deno.test("tvllm bench prints the report, and writes it to the given files", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const file = (name: string) => `${directory}/${name}`;
    const args = ["scalability", "-p", "8", "-n", "3", "--iterations", "2", "--warmup", "0"];
    const files = ["--json", file("r.json"), "--csv", file("r.csv"), "--output", file("r.md")];
    const trace = ["--trace", file("t.json")];
    const run = await runTvllm(["bench", ...args, "--concurrency", "2", ...files, ...trace]);
    assert.ok(run.code === 0, run.stderr);
    assert.match(run.stdout, /^# tvllm bench scalability\n/);
    assert.match(run.stdout, /\*\*Best throughput: /);
    assert.equal(await Deno.readTextFile(file("r.md")), run.stdout);
    const report = reportSchema.parse(JSON.parse(await Deno.readTextFile(file("r.json"))));
    assert.equal(report.run.repetitions, 2);
    assert.equal(report.results[2]!.samples!.length, 2);
    assert.equal(await Deno.readTextFile(file("r.csv")), toCsv([report]));
    assert.ok(JSON.parse(await Deno.readTextFile(file("t.json"))).traceEvents.length > 10);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("tvllm bench warns of a result above its limit: the limit is wrong, not the run", async () => {
  const args = ["scalability", "-p", "8", "-n", "3", "-r", "1", "--warmup", "0"];
  const limit = ["--concurrency", "1", "--bandwidth", "0.001", "--json", "-"];
  const { code, stdout, stderr } = await runTvllm(["bench", ...args, ...limit]);
  assert.equal(code, 0, stderr);
  const { limits, warnings } = JSON.parse(stdout);
  assert.equal(limits.source, "given");
  assert.match(
    warnings.join(),
    /results? above the limits \(first: .+\), so the limits are too low/,
  );
});

Deno.test("tvllm bench prints and writes what it measured before it failed", async () => {
  const directory = await Deno.makeTempDir();
  // The second context, with a prompt of 128 tokens, does not fit in a KV cache of 256 KiB.
  const args = "throughput -p 32 -n 2 -r 1 --warmup 0 --requests 2 --kv-memory 256K".split(" ");
  const trace = join(directory, "trace.json");
  const run = await runTvllm(["bench", ...args, "--json", "-", "--trace", trace]);
  assert.equal(run.code, 2);
  assert.match(
    run.stderr,
    /error: Cannot answer a prompt of 128 tokens: the KV cache has room for \d+; /,
  );
  const report = JSON.parse(run.stdout);
  assert.equal(report.complete, false);
  assert.deepEqual(report.tables.map(({ rows }: { rows: [] }) => rows.length), [3, 3, 1]);
  assert.ok(report.checks.length > 0);
  assert.ok(JSON.parse(await Deno.readTextFile(trace)).traceEvents.length > 10);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("tvllm bench refuses to measure answers that the KV cache would cut off", async () => {
  const args = "throughput -p 32 -n 90 -r 1 --warmup 0 --requests 2 --kv-memory 256K".split(" ");
  const { code, stderr } = await runTvllm(["bench", ...args]);
  assert.equal(code, 2);
  assert.match(
    stderr,
    /error: Cannot generate 90 tokens after a prompt of 32: the KV cache has room for 96; /,
  );
});

Deno.test("tvllm bench opens its output files first, and leaves no new ones if it fails", async () => {
  const directory = await Deno.makeTempDir();
  const there = join(directory, "there.json");
  await Deno.writeTextFile(there, "earlier");
  const path = join(directory, "none", "t.json");
  // The model is missing as well, which would be the error if it was opened first.
  const args = ["bench", "latency", "-m", join(directory, "no.gguf"), "--json", there];
  for (const option of ["--output", "--trace", "--chart"]) {
    const file = option === "--chart" ? `${path}.svg` : path;
    const { code, stderr } = await runTvllm([...args, option, file]);
    assert.equal(code, 2);
    assert.match(stderr, /error: Cannot write .*none/);
  }
  // A user may write this because --json of other commands takes no file.
  const model = join(directory, "model.gguf");
  await Deno.writeTextFile(model, "GGUF and more");
  const swallowed = await runTvllm(["bench", "memory", "--json", model]);
  assert.equal(swallowed.code, 2);
  assert.match(swallowed.stderr, /error: Cannot write .*model\.gguf: it is a model; --json needs/);
  // Without a file, JSON goes to stdout. The other options require a file.
  assert.equal((await runTvllm(["bench", "memory", "--json", "-m", model])).code, 4);
  const option = await runTvllm(["bench", "memory", "--csv", "-m", model]);
  assert.equal(option.code, 2);
  assert.match(option.stderr, /error: Cannot write -m: --csv needs a file name/);
  assert.equal(await Deno.readTextFile(model), "GGUF and more");
  await Deno.remove(model);
  const missing = await runTvllm([...args, "--output", join(directory, "new.md")]);
  assert.equal(missing.code, 3);
  const names = Array.from(Deno.readDirSync(directory), ({ name }) => name);
  assert.deepEqual(names, ["there.json"]);
  assert.equal(await Deno.readTextFile(there), "earlier");
  await Deno.remove(directory, { recursive: true });
});

for (
  const [args, message] of [
    [
      "latency --baseline cpu",
      "Cannot use --baseline with bench latency: it is for bench scenarios",
    ],
    ["memory --only matmul", "Cannot use --only with bench memory: it is for bench kernels"],
    ["memory --shape 64x64", "Cannot use --shape with bench memory: it is for bench kernels"],
    ["latency a.gguf -m b.gguf", "Cannot measure both a.gguf and -m b.gguf"],
  ] as const
) {
  Deno.test(`tvllm bench ${args} is refused`, async () => {
    const { code, stderr } = await runTvllm(["bench", ...args.split(" ")]);
    assert.equal(code, 2);
    assert.ok(stderr.includes(`error: ${message}`), stderr);
  });
}

Deno.test("tvllm bench --verify compares the CPU backend with the reference, too", async () => {
  const args = "bench latency --device cpu --verify -p 16 -n 12 -r 1 --warmup 0 --contexts 16";
  const { code, stdout, stderr } = await runTvllm(args.split(" "));
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\| reference agrees +\| ok +\| 12 of 12 tokens /);
});

Deno.test("a model after the suite overrides TVLLM_MODEL", async () => {
  const env = { TVLLM_MODEL: "b.gguf" };
  const { code, stderr } = await runTvllm(["bench", "latency", "a.gguf"], { env });
  assert.equal(code, 3);
  assert.match(stderr, /a\.gguf/);
});

Deno.test("modelSpecs() collects models, and splits at commas except in the name of a file", async () => {
  const directory = await Deno.makeTempDir();
  const file = join(directory, "a,b.gguf");
  await Deno.writeTextFile(file, "");
  assert.deepEqual(modelSpecs("hf:x/y,z.gguf", modelSpecs(file)), [file, "hf:x/y", "z.gguf"]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("tvllm bench of several models ends with a table of one row per model, and writes an array", async () => {
  const models = ["tiny-llama-q8_0", "tiny-llama-q8_0"].map((name) =>
    fileURLToPath(new URL(`../../fixtures/models/${name}.gguf`, import.meta.url))
  );
  const directory = await Deno.makeTempDir();
  const file = join(directory, "r.json");
  const args = "latency -p 8 -n 3 -r 1 --warmup 0 --requests 1 --contexts 16".split(" ");
  const device = ["--device", "cpu", "--threads", "1"];
  const run = await runTvllm(["bench", ...args, ...device, "-m", models.join(), "--json", file]);
  assert.equal(run.code, 0, run.stderr);
  const [, table] = run.stdout.split("# Results of latency\n\n");
  const [head, , ...rows] = table!.trimEnd().split("\n");
  assert.match(head!, /^\| Model +\| Format \| Gen Speed +\| TTFT +\| Memory +\|$/);
  assert.equal(rows.length, 2);
  const reports = z.array(reportSchema).parse(JSON.parse(await Deno.readTextFile(file)));
  for (const [i, { environment, results }] of reports.entries()) {
    const speed = results.find(({ metric, settings }) =>
      metric === "decode_throughput" && Object.keys(settings).length === 0
    );
    assert.ok(rows[i]!.includes(environment.model.name));
    assert.ok(rows[i]!.includes(text(speed!)));
    assert.match(environment.model.sha256, /^[0-9a-f]{64}$/);
  }
  await Deno.remove(directory, { recursive: true });
});

Deno.test("tvllm bench prints what it measured when a later model cannot be opened", async () => {
  const model = fileURLToPath(
    new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url),
  );
  const args = "latency -p 8 -n 3 -r 1 --warmup 0 --requests 1 --contexts 16 --json -".split(" ");
  const run = await runTvllm(["bench", ...args, "-m", `${model},/nowhere/b.gguf`]);
  assert.equal(run.code, 3, run.stderr);
  assert.match(run.stderr, /error: Cannot open \/nowhere\/b\.gguf: there is no such file/);
  const [report] = z.array(reportSchema).parse(JSON.parse(run.stdout));
  assert.equal(report!.complete, true);
});

Deno.test("tvllm bench measures the prompts of a file, with the given sampling", async () => {
  const directory = await Deno.makeTempDir();
  const file = join(directory, "prompts.txt");
  await Deno.writeTextFile(file, "One\n\nTwo and a half\n");
  const args = "latency -p 8 -n 3 -r 1 --warmup 0 --requests 1 --contexts 16".split(" ");
  const more = ["--prompts-file", file, "--sampling", "temp=0.5,top-k=3", "--json", "-"];
  const run = await runTvllm(["bench", ...args, ...more]);
  assert.equal(run.code, 0, run.stderr);
  const report = reportSchema.parse(JSON.parse(run.stdout));
  const prompts = report.tables.find(({ title }) => title === "Per-Prompt Latency")!;
  assert.deepEqual(prompts.rows.map(([prompt]) => prompt), ["One", "Two and a half"]);
  assert.equal(report.run.sampling.topK, 3);
  // Sampled requests are not compared with greedy ones.
  assert.ok(report.results.every(({ settings }) => !("sampling" in settings)));
  await Deno.remove(directory, { recursive: true });
});

Deno.test({
  name: "tvllm bench reads prompts from a pipe",
  ignore: Deno.build.os === "windows", // Windows has no named pipes in the file system.
  fn: async () => {
    const directory = await Deno.makeTempDir();
    const pipe = join(directory, "prompts");
    // The writer would wait forever if the program did not open the pipe.
    const script = 'mkfifo "$0"; { seq 65 > "$0" & } >/dev/null 2>&1; ' +
      '"$1" bench latency --prompts-file "$0"; code=$?; kill $! 2>/dev/null; exit $code';
    const { code, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, pipe, LAUNCHER],
      env: baseEnv(),
      clearEnv: true,
    }).output();
    assert.equal(code, 2);
    assert.match(
      new TextDecoder().decode(stderr),
      /^error: Cannot use the prompts in .*prompts: it has 65 lines; expected 1 to 64\n$/,
    );
    await Deno.remove(directory, { recursive: true });
  },
});

Deno.test("tvllm bench refuses what it cannot measure", async () => {
  const unknown = await runTvllm(["bench", "sped"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /sped/);
  const long = await runTvllm(["bench", "latency", "-p", "3000"]);
  assert.equal(long.code, 2);
  assert.match(
    long.stderr,
    /after a prompt of 3000: the context has room for 2048; request fewer tokens/,
  );
});

Deno.test("tvllm bench speed sweeps, and a failed test gets a row and exit code 1", async () => {
  const args = "speed --device cpu --threads 1,2 -p 16,32 -n 3 --depth 0,32,4096 --pg 16+2".split(
    " ",
  );
  const short = ["-r", "1", "--warmup", "0"];
  const run = await runTvllm(["bench", ...args, ...short]);
  assert.equal(run.code, 1);
  assert.match(
    run.stderr,
    /^error: Cannot measure speed pp16 @ d4096 \(it needs a context of 4113 tokens/m,
  );
  assert.doesNotMatch(run.stderr, /Use -v/);
  const [, results] = run.stdout.split("# Results of speed\n\n");
  const rows = results!.trimEnd().split("\n").slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const tests = ["pp16", "pp32", "tg3", "pp16+tg2"];
  const all = ["", " @ d32", " @ d4096"].flatMap((depth) => tests.map((name) => name + depth));
  assert.deepEqual(rows.map((row) => row[6]), [...all, ...all]);
  assert.deepEqual(rows.map((row) => row[4]), all.map(() => "1").concat(all.map(() => "2")));
  for (const row of rows) assert.equal(/failed: /.test(row[7]!), row[6]!.includes("4096"), row[6]);
  // Another number of threads gives the same tokens.
  const hashes = rows.map((row) => row.at(-1));
  assert.deepEqual(hashes.slice(0, all.length), hashes.slice(all.length));
});

Deno.test("tvllm bench -o prints the results as data", async () => {
  const args = "speed --device cpu --threads 1 -p 8 -n 2 -r 1 --warmup 0 -q -o".split(" ");
  const jsonl = await runTvllm(["bench", ...args, "jsonl"]);
  const lines = jsonl.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.ok(
    lines.some(({ metric, settings, suite, kvType }) =>
      metric === "decode_throughput" && settings.test === "tg2" && suite === "speed" &&
      kvType === "f16"
    ),
  );
  const csv = await runTvllm(["bench", ...args, "csv"]);
  assert.match(csv.stdout, /^suite,model,device,threads,kv_type,date,metric,test,/);
  const json = await runTvllm(["bench", ...args, "json"]);
  assert.deepEqual(reportSchema.parse(JSON.parse(json.stdout)).run.suiteOptions, {
    promptTokens: "8",
    maxTokens: "2",
  });
});

Deno.test("only bench speed accepts lists of lengths", async () => {
  const { code, stderr } = await runTvllm(["bench", "latency", "-p", "16,32"]);
  assert.equal(code, 2);
  assert.match(stderr, /Cannot measure --prompt-tokens 16,32: only bench speed accepts a list/);
});
