/** `--dump-kernels`: the kernels that a model launches, as text. */

import assert from "node:assert/strict";
import { kernelDump } from "../../bench/targets/kernel_dump.ts";
import { TimedRunner } from "../../bench/targets/timed_runner.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { loadModel } from "../../engine/mod.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

Deno.test("kernelDump() lists each kernel of a step with its number of launches, and each compiles", async () => {
  await using model = await withFile(
    "tiny.gguf",
    tinyModel("llama", "Q4_0"),
    (path) => loadModel(openModelFile(path), { device: "gpu", contextLength: 64 }),
  );
  const gpuRunner = model.runner as GpuRunner;
  const sections = kernelDump(gpuRunner).split("// ==== ").slice(1);
  const launches = new Map<string, number>();
  for (const section of sections) {
    const [name = ""] = section.split("\n");
    for (const [, calls] of section.matchAll(/^\/\/ launched (\d+) × .* a decode step/gm)) {
      launches.set(name, (launches.get(name) ?? 0) + Number(calls));
    }
    assert.match(section, /^\/\/ launched \d+ × with \d+ × \d+ workgroups in a/m);
    const code = section.slice(section.indexOf("\n"));
    const module = gpuRunner.gpu.device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    assert.deepEqual(messages.map(({ message }) => message), [], name);
  }
  for (const name of ["logit_adjust", "sample_keep"]) {
    assert.ok(sections.some((section) => section.startsWith(name)), name);
  }
  // Kernels are timed one by one; the last step of a request is a decode step.
  const runner = new TimedRunner(gpuRunner);
  runner.begin(true);
  await model.withEngine({ runner, prefixCacheBlocks: 0 }, async (engine) => {
    const request = engine.submit({ promptIds: [1, 2, 3], maxTokens: 2, sampling: GREEDY });
    for await (const _ of request) { /* until it is done */ }
  });
  const timed = runner.steps.at(-1)!;
  assert.equal(timed.tokens, 1);
  const counted = Map.groupBy(timed.kernels!, ({ name }) => name);
  const expected = [...counted].map(([name, own]) => [name, own.length]);
  assert.deepEqual([...launches].sort(), expected.sort());
});
