/** Models whose layers have states, served: answers depend on nothing that runs beside them. */

import assert from "node:assert/strict";
import { loadCpuRunner } from "../../engine/cpu/runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY, type ModelRunner } from "../../engine/run/runner.ts";
import { StatePositions } from "../../engine/run/state_positions.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { configOf } from "../model/tiny_config.ts";

const text = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => 3 + (i * i + seed * (i + 7)) % 290);
const request = (promptIds: number[]) => ({
  promptIds,
  sampling: GREEDY,
  maxTokens: 24,
  stopIds: [],
});
// The last is the first again, whose blocks would be found if they were kept.
const REQUESTS = [text(1, 40), text(2, 17), text(3, 5), text(1, 40)].map(request);

type Load = (model: ReturnType<typeof readModel>, blocks: number) => Promise<ModelRunner>;

/** As many sequences as slots, and for the GPU a cache that does not grow. */
const RUNNERS: Readonly<Record<string, Load>> = {
  reference: ({ weights, config }, blocks) =>
    Promise.resolve(loadReferenceRunner(weights, config, {
      ...{ blocks: [blocks], maxSequences: 2, maxBatchTokens: 12 },
    })),
  CPU: ({ weights, config }, blocks) =>
    loadCpuRunner(weights, config, {
      ...{ blocks: [blocks], maxSequences: 2, maxBatchTokens: 12, threads: 2 },
    }),
  GPU: async ({ weights, config }, blocks) =>
    await GpuRunner.load(await openGpu(), { file: weights, config }, {
      ...{ contextLength: 128, blocks: [blocks], maxSequences: 2 },
    }),
};

async function engineOf(load: Load, blocks: number): Promise<Engine> {
  const path = Deno.makeTempFileSync({ suffix: ".gguf" });
  Deno.writeFileSync(path, tinyModel("qwen35", "F16"));
  const file = openGguf(path);
  try {
    return new Engine(await load(readModel(file), blocks), {
      ...{ maxBlocks: [blocks], maxBatchTokens: 12, steps: 2 },
    });
  } finally {
    file.close();
    Deno.removeSync(path);
  }
}

for (const [name, load] of Object.entries(RUNNERS)) {
  Deno.test(`Engine on the ${name} gives requests with states what each gets alone, with preemptions`, async () => {
    const alone = await engineOf(load, 8);
    const expected: (readonly number[])[] = [];
    for (const one of REQUESTS) expected.push((await alone.generate([one]))[0]!.ids);
    const { prefix, prefillTokens } = alone.stats;
    assert.equal(prefix.tokensSaved, 0);
    assert.equal(prefillTokens, 40 + 17 + 5 + 40);
    assert.deepEqual(expected[3], expected[0]);
    assert.equal(new Set(expected.map(String)).size, 3);
    await alone.stop();
    // Two run at a time in two slots, and have too few blocks for both.
    const together = await engineOf(load, 5);
    const answers = await together.generate(REQUESTS);
    assert.deepEqual(answers.map(({ ids }) => ids), expected);
    assert.ok(together.stats.preemptions > 0, "none stepped back");
    await together.stop();
  });
}

Deno.test("StatePositions refuses what a state cannot go on from", () => {
  const row = (slot: number, start: number, count: number) => ({
    ...{ slot, start, blockTables: [] },
    tokens: Array.from({ length: count }, () => 1),
  });
  const states = new StatePositions(configOf("qwen35"));
  states.enter({ sequences: [row(0, 0, 5), row(1, 0, 3)] });
  states.enter({ sequences: [{ ...row(0, 5, 1), tokens: null }], steps: 4 });
  assert.throws(
    () => states.enter({ sequences: [row(1, 3, 1), row(0, 5, 1)] }),
    /slot 0 goes on from 5, and its state is at 9/,
  );
  // Nothing of it entered.
  states.enter({ sequences: [row(1, 3, 1), row(0, 9, 1)] });
  states.enter({ sequences: [row(0, 0, 1)] });
  assert.throws(() => states.enter({ sequences: [row(2, 1, 1)] }), /slot 2 goes on from 1/);
  const plain = new StatePositions(configOf("llama"));
  plain.enter({ sequences: [row(0, 7, 1)] });
});
