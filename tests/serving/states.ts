/** Requests to a model with recurrent layers, which have states. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY, type ModelRunner } from "../../engine/run/runner.ts";
import { type TinyArchitecture, tinyModel } from "../../fixtures/tiny_models.ts";

const text = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => 3 + (i * i + seed * (i + 7)) % 290);
const request = (promptIds: number[]) => ({
  promptIds,
  sampling: GREEDY,
  maxTokens: 24,
  stopIds: [],
});
// The last request repeats the first, whose blocks would be found if they were cached.
const REQUESTS = [text(1, 40), text(2, 17), text(3, 5), text(1, 40)].map(request);

/** Loads a runner for two sequences, with this many blocks of KV cache. */
export type Load = (model: ReturnType<typeof readModel>, blocks: number) => Promise<ModelRunner>;

async function engineOf(
  architecture: TinyArchitecture,
  load: Load,
  blocks: number,
): Promise<Engine> {
  const path = Deno.makeTempFileSync({ suffix: ".gguf" });
  Deno.writeFileSync(path, tinyModel(architecture, "F16"));
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

/** Architectures whose layers have states. */
export const STATEFUL = ["qwen35", "nemotron_h_moe"] as const;

/** Checks that requests get the same answers together as alone, although some are preempted. */
export async function checkAnswers(architecture: TinyArchitecture, load: Load): Promise<void> {
  const alone = await engineOf(architecture, load, 8);
  const expected: (readonly number[])[] = [];
  for (const one of REQUESTS) expected.push((await alone.generate([one]))[0]!.ids);
  const { prefix, prefillTokens } = alone.stats;
  assert.equal(prefix.tokensSaved, 0);
  assert.equal(prefillTokens, 40 + 17 + 5 + 40);
  assert.deepEqual(expected[3], expected[0]);
  assert.equal(new Set(expected.map(String)).size, 3);
  await alone.stop();
  // Two requests run at a time, in two slots, with too few blocks for both.
  const together = await engineOf(architecture, load, 5);
  const answers = await together.generate(REQUESTS);
  assert.deepEqual(answers.map(({ ids }) => ids), expected);
  assert.ok(together.stats.preemptions > 0, "no request was preempted");
  await together.stop();
}
