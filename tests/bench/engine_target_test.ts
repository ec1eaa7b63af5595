/** The target that is a real model: its times, and what it does when the device fails. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { DeviceError } from "../../engine/errors.ts";
import { loadModel, type Model, openGguf } from "../../engine/mod.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { makePrompts } from "../../bench/harness/prompts.ts";
import { summarize } from "../../bench/report/stats.ts";
import { interTokenLatencies, tpot } from "../../bench/harness/timings.ts";

const TINY = fileURLToPath(
  new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url),
);
const PROGRAM = { tvllm: "test", kvType: "f16", startup: 1 } as const;

async function withModel(use: (model: Model) => Promise<void>): Promise<void> {
  const model = await loadModel(openGguf(TINY), { contextLength: 128, maxSequences: 4 });
  try {
    await use(model);
  } finally {
    await model.close();
  }
}

Deno.test("the last token of a request comes a step after the one before", () =>
  withModel(async (model) => {
    const target = new EngineTarget(model, PROGRAM);
    const serve = async (maxTokens: number) => {
      const [promptIds] = makePrompts(target.text, { count: 1, tokens: 16, seed: 0 });
      const requests = [{ promptIds: promptIds!, maxTokens }];
      const { requests: [served] } = await target.withSession(
        {},
        (session) => session.serve(requests),
      );
      return served!;
    };
    await serve(2); // compiles
    const gaps = interTokenLatencies(await serve(24));
    const typical = summarize(gaps).median;
    const ends: number[] = [];
    for (let i = 0; i < 5; i++) ends.push(tpot(await serve(2)));
    // Where the host waits for what comes after a token too, the gap at the end is near 0.
    assert.ok(summarize(ends).median > typical / 10, `${ends} and ${typical} ms`);
    assert.ok(gaps.at(-1)! > typical / 10, `${gaps} ms`);
  }));

Deno.test("staggered requests whose engine fails give one error, the device's", () =>
  withModel(async (model) => {
    let steps = 0;
    const runner: ModelRunner = {
      config: model.runner.config,
      device: model.runner.device,
      limits: model.runner.limits,
      submit: (batch) => {
        if (++steps === 9) throw new DeviceError("lost", "Lost the device");
        return model.runner.submit(batch);
      },
      copyBlocks: (pairs) => model.runner.copyBlocks(pairs),
      destroy: () => {},
    };
    const failing = new Proxy(model, {
      get: (_, key) => key === "runner" ? runner : Reflect.get(model, key),
    });
    const target = new EngineTarget(failing, PROGRAM);
    const requests = makePrompts(target.text, { count: 4, tokens: 16, seed: 0 })
      .map((promptIds) => ({ promptIds, maxTokens: 8 }));
    // An error that nobody awaits would fail this test too.
    await assert.rejects(
      target.withSession({}, (session) => session.serve(requests, { arrival: "staggered" })),
      DeviceError,
    );
  }));

Deno.test("EngineTarget.hasServed tells when kernels were compiled by requests before", () =>
  withModel(async (model) => {
    const target = new EngineTarget(model, PROGRAM);
    assert.equal(target.hasServed, false);
    await target.withSession(
      {},
      (session) => session.serve([{ promptIds: [1, 2], maxTokens: 2 }]),
    );
    assert.equal(target.hasServed, true);
  }));
