import assert from "node:assert/strict";
import { checkBatch } from "../../engine/run/check_batch.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import type { Batch, BatchSequence } from "../../engine/run/runner.ts";

const CONFIG = { contextLength: 40, vocabSize: 10 } as ModelConfig;
const LIMITS = { blocks: [4], maxSequences: 2, maxBatchTokens: 20 };
const SAMPLING = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };
const SEQUENCE: BatchSequence = { slot: 0, tokens: [1, 2], start: 14, blockTables: [[0]] };

function batch(sequence: Partial<BatchSequence>, rest: Partial<Batch> = {}): Batch {
  return { sequences: [{ ...SEQUENCE, ...sequence }], ...rest };
}

Deno.test("checkBatch() accepts a batch at the limits", () => {
  checkBatch({ sequences: [] }, CONFIG, LIMITS);
  checkBatch(batch({}), CONFIG, LIMITS);
  checkBatch(
    {
      sequences: [
        { ...SEQUENCE, tokens: Array(19).fill(9), start: 21, blockTables: [[3, 2, 0]] },
        { ...SEQUENCE, slot: 1, tokens: null },
      ],
    },
    CONFIG,
    LIMITS,
  );
  checkBatch(
    batch({ tokens: null, sampling: SAMPLING, start: 31, blockTables: [[1, 2, 3]] }, { steps: 8 }),
    CONFIG,
    LIMITS,
  );
});

function biases(count: number): Map<number, number> {
  return new Map(Array.from({ length: count }, (_, id) => [id, 0.1]));
}

const REFUSED: [string, Batch, RegExp][] = [
  ["too many tokens", batch({ tokens: Array(21).fill(0) }), /21 tokens; the runner's limit is 20/],
  [
    "too many sequences",
    { sequences: [0, 1, 2].map((slot) => ({ ...SEQUENCE, slot })) },
    /3 sequences; the runner's limit is 2/,
  ],
  ["one slot twice", { sequences: [SEQUENCE, SEQUENCE] }, /two sequences in slot 0/],
  ["a missing slot", batch({ slot: 2 }), /slot 2; the runner has 2 slots/],
  ["no tokens", batch({ tokens: [] }), /no tokens \(slot 0\)/],
  [
    "a token beyond the vocabulary",
    batch({ tokens: [10] }),
    /token 10 is not in the vocabulary of 10/,
  ],
  ["a negative start", batch({ start: -1 }), /start -1 is not a position \(slot 0\)/],
  ["too few blocks", batch({ start: 15 }), /17 positions need 2 blocks, but its table has 1/],
  ["a missing block", batch({ blockTables: [[4]] }), /block 4 is not below 4/],
  [
    "positions beyond the context",
    batch({ start: 39, blockTables: [[0, 1, 2]] }),
    /41 positions exceed the context of 40 \(slot 0\)/,
  ],
  ["no steps", batch({}, { steps: 0 }), /0 steps/],
  ["half a step", batch({}, { steps: 1.5 }), /1\.5 steps/],
  ["too many steps", batch({ tokens: [1] }, { steps: 9 }), /9 steps; .* 1 to 8/],
  [
    "logits of a chain of steps",
    batch({ tokens: [1], sampling: SAMPLING, logits: "last" }, { steps: 2 }),
    /2 chained steps cannot return logits \(slot 0\)/,
  ],
  [
    "too many logit biases",
    batch({ sampling: { ...SAMPLING, logitBias: biases(1025) } }),
    /1025 logit biases exceed the limit of 1024 \(slot 0\)/,
  ],
  ["steps after several tokens", batch({ sampling: SAMPLING }, { steps: 2 }), /2 chained steps/],
  ["steps without sampling", batch({ tokens: null }, { steps: 2 }), /2 chained steps/],
  [
    "steps beyond the blocks",
    batch({ tokens: null, sampling: SAMPLING, start: 15 }, { steps: 2 }),
    /17 positions need 2 blocks/,
  ],
];

for (const [what, refused, message] of REFUSED) {
  Deno.test(`checkBatch() refuses ${what}`, () => {
    assert.throws(() => checkBatch(refused, CONFIG, LIMITS), (error) => {
      assert.ok(error instanceof RangeError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}
