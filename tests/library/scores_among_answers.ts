/** A check, for the tests of each device, that scores a text while answers run. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { load } from "../../mod.ts";

const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));
const GREEDY = { temperature: 0, maxTokens: 16 };

/** Scores a text alone and while answers run. The answers must be the same as without scoring. */
export async function scoresAmongAnswers(device: "cpu" | "gpu"): Promise<void> {
  await using model = await load(MODEL, { device, contextLength: 256, maxSequences: 2 });
  const text = "The king said to the queen that the wolf was in the wood. ".repeat(2);
  const alone = await model.perplexity(text);
  assert.equal(alone.positions.length, alone.ids.length);
  assert.deepEqual(alone.ids, model.tokenize(text, { bos: true }));
  const expected = await model.complete(text, GREEDY);
  const answers = [1, 2].map(() => model.generate(text, GREEDY));
  const among = model.perplexity(text);
  for (const answer of answers) assert.deepEqual((await answer.complete()).ids, expected.ids);
  const { perplexity, error } = await among;
  assert.ok(Math.abs(perplexity / alone.perplexity - 1) < 1e-6);
  assert.ok(error! > 0 && perplexity > 1);
  assert.deepEqual((await model.complete(text, GREEDY)).ids, expected.ids);
  assert.equal(model.engine.stats.blocks.used, 0);
  await assert.rejects(model.perplexity(""), {
    name: "RequestError",
    message: /^Cannot compute perplexity: the text has fewer than two tokens; use a longer one$/,
  });
}
