import assert from "node:assert/strict";
import { GREEDY, MOST_BIASES } from "../../engine/run/runner.ts";
import { stepWords, writeStep } from "../../engine/gpu/step_metadata.ts";

Deno.test("writeStep() has room for the most biases of the most sequences in a step", () => {
  const limits = { tokens: 6, sequences: 6, logitRows: 6, tableBlocks: 2 };
  const logitBias = new Map(Array.from({ length: MOST_BIASES }, (_, id) => [id, id / 2]));
  const sequences = Array.from({ length: limits.sequences }, (_, slot) => ({
    slot,
    tokens: [1],
    start: 31,
    blockTables: [[2 * slot, 2 * slot + 1]],
    sampling: { ...GREEDY, logitBias },
  }));
  const words = new Uint32Array(stepWords(limits));
  const floats = new Float32Array(words.buffer);
  const counts = writeStep(words, { sequences }, { step: 0, sampledOffset: 0, mostParts: 0 });
  assert.equal(counts.words, words.length);
  const last = words.length - 2;
  assert.deepEqual([words[last], floats[last + 1]], [MOST_BIASES - 1, (MOST_BIASES - 1) / 2]);
});
