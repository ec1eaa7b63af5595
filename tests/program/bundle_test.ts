/** `deno task bundle` creates one file that runs anywhere, without other files. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run, type RunResult } from "./run_tvllm.ts";

// Deno downloads its bundler once. The whole environment is passed on because it may configure how
// the package registry is reached.
const bundled = await new Deno.Command(Deno.execPath(), { args: ["task", "bundle"], cwd: ROOT })
  .output();

/** A directory with a copy of the bundle and nothing else. */
const directory = Deno.makeTempDirSync({ prefix: "tvllm bundle " });
// Empty too, so that no package from an earlier download is found.
const denoDir = Deno.makeTempDirSync();
const bundle = join(directory, "tvllm.js");

Deno.test("deno task bundle writes dist/tvllm.js", () => {
  assert.equal(bundled.code, 0, new TextDecoder().decode(bundled.stderr));
  Deno.copyFileSync(join(ROOT, "dist/tvllm.js"), bundle);
});

/** Runs the bundle in its directory, without network and without reading or writing files. */
async function runBundle(args: readonly string[], permissions: string[] = []): Promise<RunResult> {
  const flags = ["--no-prompt", "--cached-only", "--no-config", "--ignore-env", ...permissions];
  const result = await run(Deno.execPath(), ["run", ...flags, bundle, ...args], {
    cwd: directory,
    env: { DENO_DIR: denoDir, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", XDG_RUNTIME_DIR: "" },
  });
  assert.equal(result.code, 0, result.stderr);
  return result;
}

Deno.test("the bundle generates text with the model that it contains", async () => {
  const args = ["generate", "Once upon a time", "-n", "12", "--seed", "1"];
  const { stdout } = await runBundle(args);
  assert.match(stdout, /\w+ \w+ \w+/);
  const checkout = await run("sh", [join(ROOT, "tvllm"), ...args]);
  assert.equal(stdout, checkout.stdout);
});

Deno.test("the bundle measures, and draws with the font that it contains", async () => {
  const args = "bench throughput -p 16 -n 4 --requests 2 -r 1 --warmup 0 --json -".split(" ");
  const chart = join(Deno.makeTempDirSync(), "chart.png");
  const { stdout } = await runBundle([...args, "--chart", chart], [`--allow-write=${chart}`]);
  const report = JSON.parse(stdout);
  assert.equal(report.suite, "throughput");
  assert.equal(report.complete, true);
  assert.ok(Deno.statSync(chart).size > 10_000);
});

Deno.test("the bundle lists devices", async () => {
  const { stdout, stderr } = await runBundle(["devices"], ["--allow-env=XDG_RUNTIME_DIR"]);
  assert.match(stdout, /subgroups/);
  assert.doesNotMatch(stderr, /XDG_RUNTIME_DIR/);
});

Deno.test("the bundle reads a model if it has the permission", async () => {
  const model = join(ROOT, "fixtures/builtin.gguf");
  const { stdout } = await runBundle(["inspect", model], [`--allow-read=${model}`]);
  assert.match(stdout, /^# tvllm stories\n/);
});

Deno.test("the bundle refuses bench ab --against, even if it lies in a checkout", async () => {
  for (const path of [bundle, join(ROOT, "dist/tvllm.js")]) {
    const args = ["run", "--no-prompt", "-RE", path, "bench", "ab", "--against", ROOT];
    const { code, stderr } = await run(Deno.execPath(), args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^error: Cannot use --against: this tvllm is not a checkout; start the /);
  }
});

Deno.test("the bundle has created no files in its directory", () => {
  assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["tvllm.js"]);
});
