/** The target that runs a real model: its times, and its behaviour when the device fails. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { DeviceError } from "../../engine/errors.ts";
import { loadModel, type Model, openGguf } from "../../engine/mod.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { makePrompts } from "../../bench/harness/prompts.ts";
import { ScriptedClock } from "../time.ts";
import { PROGRAM } from "./scripted_target.ts";

const TINY = fileURLToPath(
  new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url),
);
async function withModel(use: (model: Model) => Promise<void>): Promise<void> {
  const sizes = { device: "cpu", contextLength: 128, maxSequences: 4 } as const;
  const model = await loadModel(openGguf(TINY), sizes);
  try {
    await use(model);
  } finally {
    await model.close();
  }
}

/** The model with its own runner, except that `submit` is replaced. */
function withSubmit(model: Model, submit: ModelRunner["submit"]): Model {
  const { config, device, limits } = model.runner;
  const runner: ModelRunner = {
    config,
    device,
    limits,
    submit,
    copyBlocks: (pairs) => model.runner.copyBlocks(pairs),
    destroy: () => {},
  };
  return new Proxy(model, {
    get: (_, key) => {
      if (key === "runner") return runner;
      const value = Reflect.get(model, key);
      return typeof value === "function" ? value.bind(model) : value;
    },
  });
}

Deno.test("a token's time is when its step was read, also for the last token", () =>
  withModel(async (model) => {
    // This clock counts the steps that were read.
    using clock = new ScriptedClock();
    const counting = withSubmit(model, (batch) => {
      const step = model.runner.submit(batch);
      return { read: async () => await Promise.resolve(step.read()).finally(() => clock.time++) };
    });
    const target = await EngineTarget.open(counting, PROGRAM);
    const [promptIds] = makePrompts(target.text, { count: 1, tokens: 16, seed: 0 });
    const { requests } = await target.withSession(
      {},
      (session) => session.serve([{ promptIds: promptIds!, maxTokens: 8 }]),
    );
    assert.deepEqual(requests[0]!.times, [1, 2, 3, 4, 5, 6, 7, 8]);
  }));

Deno.test("if the engine fails in staggered requests, the only error is the device's", () =>
  withModel(async (model) => {
    let steps = 0;
    const failing = withSubmit(model, (batch) => {
      if (++steps === 9) throw new DeviceError("lost", "Lost the device");
      return model.runner.submit(batch);
    });
    const target = await EngineTarget.open(failing, PROGRAM);
    const requests = makePrompts(target.text, { count: 4, tokens: 16, seed: 0 })
      .map((promptIds) => ({ promptIds, maxTokens: 8 }));
    // An unhandled rejection would also fail this test.
    await assert.rejects(
      target.withSession({}, (session) => session.serve(requests, { arrival: "staggered" })),
      DeviceError,
    );
  }));

Deno.test("EngineTarget.hasServed tells whether earlier requests have compiled the kernels", () =>
  withModel(async (model) => {
    const target = await EngineTarget.open(model, PROGRAM);
    assert.equal(target.hasServed, false);
    await target.withSession(
      {},
      (session) => session.serve([{ promptIds: [1, 2], maxTokens: 2 }]),
    );
    assert.equal(target.hasServed, true);
  }));

Deno.test("on the CPU, the size of the weights on the device is that of their buffer", () =>
  withModel(async (model) => {
    const target = await EngineTarget.open(model, PROGRAM);
    const { deviceBytes, tensorBytes } = target.environment.model;
    assert.equal(deviceBytes, target.memory().buffers!.weights);
    assert.notEqual(deviceBytes, tensorBytes);
  }));
