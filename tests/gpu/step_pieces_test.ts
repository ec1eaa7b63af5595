/** Steps cut into pieces give the same tokens as whole steps, and end early if abandoned. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import type { Recorded } from "../../engine/gpu/pass.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { StepPace } from "../../engine/gpu/step_pace.ts";
import { StepQueue } from "../../engine/gpu/step_queue.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY } from "../../engine/run/runner.ts";

const MODEL = "fixtures/models/tiny-llama-q8_0.gguf";

async function openRunner(pieces: number) {
  const file = openGguf(MODEL);
  const runner = await GpuRunner.load(await openGpu(), { file, config: configFromGguf(file) }, {
    contextLength: 128,
    maxSequences: 3,
    pace: { pieces: () => pieces, took: () => {} },
  });
  return Object.assign(runner, {
    [Symbol.dispose]() {
      runner.destroy();
      file.close();
    },
  });
}

/** Counts the command buffers that are submitted to the device's queue. */
function countSubmits(runner: GpuRunner): { count: number } {
  const { queue } = runner.gpu.device;
  const submits = { count: 0 };
  const submit = queue.submit.bind(queue);
  queue.submit = (commands) => {
    submits.count += commands.length;
    submit(commands);
  };
  return submits;
}

const PROMPTS = [50, 9, 23].map((length, p) =>
  Array.from({ length }, (_, i) => (7 * i + 31 * p + 3) % 200)
);

Deno.test("steps in pieces give the tokens of whole steps, for prompts batched with answers", async () => {
  const answers = [];
  for (const pieces of [1, 5, 1000]) {
    using runner = await openRunner(pieces);
    const submits = countSubmits(runner);
    // Prompts enter in chunks, so that a step is recorded while another one runs.
    const engine = new Engine(runner, { maxBatchTokens: 16, prefixCacheBlocks: 0 });
    const requests = PROMPTS.map((promptIds) => ({
      promptIds,
      maxTokens: 12,
      sampling: { ...GREEDY, repeatPenalty: 1.3 },
    }));
    answers.push((await engine.generate(requests)).map(({ ids }) => ids));
    const { steps } = engine.stats;
    await engine.stop();
    // A step is cut at most before each operation.
    const most = Math.min(pieces, runner.launches(1, "prompt").length);
    assert.ok(submits.count >= steps * (pieces === 1 ? 1 : 4), `${submits.count}`);
    assert.ok(submits.count <= steps * (most + 1), `${submits.count}`);
  }
  assert.deepEqual(answers[1], answers[0]);
  assert.deepEqual(answers[2], answers[0]);
});

Deno.test("an abandoned step ends after the running piece, and the next step runs completely", async () => {
  using runner = await openRunner(5);
  const row = { slot: 0, start: 0, blockTables: [[0, 1, 2, 3]], sampling: GREEDY };
  const batch = { sequences: [{ ...row, tokens: PROMPTS[0]! }] };
  const whole = await runner.submit(batch).read();
  const submits = countSubmits(runner);
  const step = runner.submit(batch);
  assert.equal(submits.count, 1);
  runner.abandon();
  assert.deepEqual((await step.read()).tokens, [[]]);
  assert.equal(submits.count, 1);
  assert.deepEqual((await runner.submit(batch).read()).tokens, whole.tokens);
});

/** A queue, the list of what it launched, and a function that makes steps from named pieces. */
function scripted() {
  const launched: string[] = [];
  const submit = (pieces: string[]) => void launched.push(...pieces);
  const device = { queue: { submit } } as unknown as GPUDevice;
  const recorded = (...pieces: string[]) =>
    ({
      pieces,
      waits: pieces.slice(1).map(() => () => Promise.resolve(launched.push("wait"))),
      times: () => Promise.resolve([]),
    }) as unknown as Recorded;
  return { launched, queue: new StepQueue({ device }), recorded };
}

Deno.test("StepQueue launches a piece when the previous one is done, and a step when the previous one is read", async () => {
  const { launched, queue, recorded } = scripted();
  const first = queue.add(recorded("a1", "a2", "a3"));
  const second = queue.add(recorded("b1", "b2"));
  assert.deepEqual(launched, ["a1"]);
  assert.equal(await queue.run(first), true);
  assert.deepEqual(launched, ["a1", "wait", "a2", "wait", "a3"]);
  queue.remove(first);
  assert.equal(launched.at(-1), "b1");
  // Data written now must not reach commands that were recorded before.
  queue.launchAll(1);
  assert.equal(launched.at(-1), "b1");
  queue.launchAll();
  assert.equal(launched.at(-1), "b2");
  assert.equal(await queue.run(second), true);
});

Deno.test("StepQueue launches all earlier pieces before a later step that is read first", async () => {
  const { launched, queue, recorded } = scripted();
  queue.add(recorded("a1", "a2"));
  const second = queue.add(recorded("b1"));
  await queue.run(second);
  assert.deepEqual(launched, ["a1", "a2", "b1"]);
});

Deno.test("StepPace cuts by the model's products at first, then by measured times", () => {
  const pace = new StepPace("software", 1e9);
  assert.equal(pace.pieces("prompt", 64), 53);
  for (let i = 0; i < 20; i++) pace.took("prompt", 64, 900);
  assert.equal(pace.pieces("prompt", 64), 6);
  assert.equal(pace.pieces("prompt", 1), 1);
  assert.equal(new StepPace("hardware", 1e9).pieces("prompt", 64), 1);
  assert.equal(new StepPace("software", 1e7).pieces("decode", 1), 1);
});
