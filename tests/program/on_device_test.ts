/** The parts of bench/on_device.sh, a script for machines with a GPU, that can run without one. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { baseEnv, lacks, ROOT } from "./run_tvllm.ts";

async function onDevice(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: [join(ROOT, "bench/on_device.sh"), ...args],
    clearEnv: true,
    // A cache of its own, so that its tuning affects no other program.
    env: { ...baseEnv(), TVLLM_CACHE: Deno.makeTempDirSync(), ...env },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const ignore = Deno.build.os !== "linux" || lacks("on_device.sh", "timeout");

Deno.test({
  name: "on_device.sh refuses unknown and incomplete arguments",
  ignore,
  fn: async () => {
    for (
      const [args, message] of [
        [[], /^error: No directory given: bench\/on_device\.sh DIRECTORY\n$/],
        [["--fast"], /^error: Unknown option --fast: /],
        [["out", "--seconds"], /^error: --seconds needs a value\n$/],
      ] as const
    ) {
      const { code, stderr } = await onDevice(args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  },
});

Deno.test({
  name: "on_device.sh reports a missing adapter, and what to look for",
  ignore,
  fn: async () => {
    const noDriver = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
    const noGraphics = { ...noDriver, __EGL_VENDOR_LIBRARY_FILENAMES: "/nonexistent" };
    const { code, stderr } = await onDevice([Deno.makeTempDirSync()], noGraphics);
    assert.equal(code, 5, stderr);
    assert.match(stderr, /^error: There is no WebGPU adapter: .*Vulkan driver/);
  },
});

Deno.test({
  name: "on_device.sh tunes before it measures, and its reports say so",
  ignore,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const model = join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf");
    const { code, stdout } = await onDevice(["--any", "--models", model, directory]);
    assert.equal(code, 0, stdout);
    const steps = [...stdout.matchAll(/^- (\w+)\S*: exit code 0, /gm)].map(([, name]) => name);
    assert.deepEqual(steps, ["devices", "check", "tune", "breakdown", "latency", "throughput"]);
    const { date, families } = JSON.parse(Deno.readTextFileSync(join(directory, "tune.out")));
    assert.ok(families.length > 0);
    const [report] = [...Deno.readDirSync(directory)].map(({ name }) => name)
      .filter((name) => name.startsWith("latency") && name.endsWith(".json"));
    const { environment } = JSON.parse(Deno.readTextFileSync(join(directory, report!)));
    assert.match(environment.engine.kernels, new RegExp(`, tuned on ${date}$`));
  },
});

Deno.test({
  name: "on_device.sh records what it ran, and what it had no time for",
  ignore,
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const { code, stdout } = await onDevice(["--any", "--seconds", "6", directory]);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /^- devices: exit code 0, /m);
    const summary = Deno.readTextFileSync(join(directory, "summary.md"));
    assert.match(summary, /^- latency-synth-qwen3-0.6b-Q8-0: not run: the time was up$/m);
    assert.ok(JSON.parse(Deno.readTextFileSync(join(directory, "devices.out"))).adapter);
  },
});
