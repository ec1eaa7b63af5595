import { InvalidArgumentError } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import { counts } from "../../cli/bench.ts";
import { runTvllm } from "./run_tvllm.ts";

Deno.test("counts() takes lists and ranges", () => {
  assert.deepEqual(counts("1,2,4"), [1, 2, 4]);
  assert.deepEqual(counts("8,1-3,2"), [1, 2, 3, 8]);
  for (const text of ["", "0", "1,", "3-1", "1-300", "x", "-1"]) {
    assert.throws(() => counts(text), InvalidArgumentError, text);
  }
});

Deno.test("tvllm bench schema prints the JSON Schema of the results", async () => {
  const { code, stdout } = await runTvllm(["bench", "schema"]);
  assert.equal(code, 0);
  const schema = JSON.parse(stdout);
  assert.equal(schema.properties.format.const, "tvllm-bench-1");
  assert.ok(schema.required.includes("outputHash"));
});

Deno.test("tvllm bench prints the report, and writes it where it is told", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const file = (name: string) => `${directory}/${name}`;
    const args = ["scalability", "-p", "8", "-n", "3", "--iterations", "2", "--warmup", "0"];
    const files = ["--json", file("r.json"), "--output", file("r.md"), "--trace", file("t.json")];
    const run = await runTvllm(["bench", ...args, "--concurrency", "2", ...files]);
    assert.ok(run.code === 0, run.stderr);
    assert.match(run.stdout, /^# tvllm bench scalability\n/);
    assert.match(run.stdout, /\*\*Best throughput: /);
    assert.equal(await Deno.readTextFile(file("r.md")), run.stdout);
    const report = JSON.parse(await Deno.readTextFile(file("r.json")));
    assert.equal(report.run.repetitions, 2);
    assert.equal(report.tables[0].rows[1][1].samples.length, 2);
    assert.ok(JSON.parse(await Deno.readTextFile(file("t.json"))).traceEvents.length > 10);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("tvllm bench ends with 7 if a result is above its limit", async () => {
  const args = ["scalability", "-p", "8", "-n", "3", "-r", "1", "--warmup", "0"];
  const limit = ["--concurrency", "1", "--bandwidth", "0.001", "--json", "-"];
  const { code, stdout, stderr } = await runTvllm(["bench", ...args, ...limit]);
  assert.equal(code, 7);
  assert.match(stderr, /error: Check failed: scalability: within the limits/);
  assert.equal(JSON.parse(stdout).limits.source, "given");
});

Deno.test("tvllm bench refuses what it cannot measure", async () => {
  const unknown = await runTvllm(["bench", "speed"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /speed/);
  const long = await runTvllm(["bench", "latency", "-p", "3000"]);
  assert.equal(long.code, 2);
  assert.match(long.stderr, /the context has 2048; give a smaller -p or -n/);
});
