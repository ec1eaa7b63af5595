/** Parts of the library that differ on a GPU: upload progress, and scoring with its kernels. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { load, type LoadProgress } from "../../mod.ts";
import { scoresAmongAnswers } from "../library/scores_among_answers.ts";

const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));

Deno.test("load() reports the upload of the weights until it is complete", async () => {
  const seen: LoadProgress[] = [];
  await using model = await load(MODEL, {
    device: "gpu",
    contextLength: 64,
    progress: (progress) => seen.push(progress),
  });
  const all = [...model.file.tensors.values()].reduce((sum, t) => sum + t.byteLength, 0);
  assert.deepEqual(seen.at(-1), { stage: "weights", bytes: all, total: all });
  const bytes = seen.map((progress) => progress.bytes);
  assert.deepEqual(bytes, bytes.toSorted((a, b) => a - b));
});

Deno.test("Model.perplexity() changes no answer and no cached prefix on a GPU", () => {
  return scoresAmongAnswers("gpu");
});
