/** A sequence's logits must not depend on chunks, block tables or other sequences in the batch. */

import assert from "node:assert/strict";
import { readGolden } from "../assert.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { assertSameInBatch, SAMPLED } from "./same_in_batch.ts";
import { blocksFor, logitsOf, run, sample, tinyRunner } from "./tiny_runner.ts";

const IDS = readGolden("tiny-llama-q4_1").ids;

// Models with experts are included, because an expert computes the tokens of a chunk together.
const CUT = [
  ["llama", "Q4_1"],
  ["llama", "Q5_K"],
  ["qwen3moe", "Q4_0"],
  ["smollm3", "Q4_0"],
  ["granite", "F16"],
  ["mistral3", "F16"],
  ["phi3", "Q4_0"],
  ["qwen35moe", "Q4_0"],
  ["nemotron_h_moe", "Q4_0"],
] as const;
for (const [architecture, format] of CUT) {
  Deno.test(`Reference runner's logits are bit-identical for chunks of any size, ${architecture} ${format}`, async () => {
    const runner = tinyRunner(architecture, format);
    const whole = await logitsOf(runner, IDS);
    for (const chunk of [1, 2, 7, 16, 39]) {
      assert.deepEqual(await logitsOf(runner, IDS, { chunk }), whole, `chunks of ${chunk}`);
    }
  });
}

Deno.test("Reference runner accepts block tables in any order", async () => {
  const runner = tinyRunner("qwen3", "Q8_0", { blocks: [8] });
  const straight = await logitsOf(runner, IDS, { chunk: 5 });
  for (const blockTables of [[[7, 0, 3]], [[2, 1, 0, 5]]]) {
    assert.deepEqual(await logitsOf(runner, IDS, { chunk: 5, blockTables }), straight);
  }
});

Deno.test("Reference runner computes the same for a sequence in a batch as alone", async () => {
  await assertSameInBatch(tinyRunner("qwen2", "Q4_0", { blocks: [16] }), IDS);
});

Deno.test("Reference runner mixes a prefill chunk with a decode", async () => {
  const runner = tinyRunner("llama", "Q8_0", { blocks: [8] });
  const decode = { slot: 0, start: 20, blockTables: [[0, 1]], logits: "last" } as const;
  const prefill = { slot: 1, start: 0, blockTables: [[4, 5, 6]], logits: "all" } as const;
  await logitsOf(runner, IDS.slice(0, 20));
  const one = await run(runner, { ...decode, tokens: [IDS[20]!] });
  const other = await run(runner, { ...prefill, tokens: IDS });
  const { logits } = await runner.submit({
    sequences: [{ ...decode, tokens: [IDS[20]!] }, { ...prefill, tokens: IDS }],
  }).read();
  assert.deepEqual(logits, [one, other]);
});

Deno.test("Reference runner feeds sampled tokens back in steps, and in batches submitted ahead", async () => {
  const sampling = { ...SAMPLED, seed: 9 };
  const blockTables = [blocksFor(64)];
  const first = { slot: 2, tokens: IDS.slice(0, 5), start: 0, prior: [], blockTables, sampling };
  const later = (start: number) => ({ slot: 2, tokens: null, start, blockTables, sampling });

  const runner = tinyRunner("llama", "Q4_0");
  const expected: number[] = [];
  for (let i = 0; i < 12; i++) {
    const ids = [...IDS.slice(0, 5), ...expected];
    expected.push(...await sample(runner, { ...first, tokens: ids }));
  }
  assert.deepEqual(
    [
      ...await sample(runner, first),
      ...await sample(runner, later(5), 8),
      ...await sample(runner, later(13), 3),
    ],
    expected,
    "steps",
  );
  const pending = [runner.submit({ sequences: [first] })];
  for (let start = 5; start < 16; start++) {
    pending.push(runner.submit({ sequences: [later(start)] }));
  }
  const read = await Promise.all(pending.reverse().map((step) => step.read()));
  assert.deepEqual(read.reverse().flatMap(({ tokens }) => tokens[0]!), expected, "ahead");
});

Deno.test("Reference runner records the tokens of a chain that begins with a slot's first batch", async () => {
  const runner = tinyRunner("llama", "Q4_0");
  // The penalty is so high that a token can repeat only if the slot forgot it.
  const sampling = { ...GREEDY, repeatPenalty: 1e6, logitBias: new Map([[1, 50], [2, 40]]) };
  const first = { slot: 0, tokens: [5], start: 0, prior: [], blockTables: [[0]], sampling };
  const ids = await sample(runner, first, 8);
  assert.deepEqual(ids.slice(0, 2), [1, 2]);
  assert.equal(new Set(ids).size, 8);
});

Deno.test("Reference runner learns the tokens of a cached prefix from `prior`", async () => {
  const runner = tinyRunner("llama", "F16", { blocks: [8] });
  // The first token would always be sampled if it were not penalized for being in the prompt.
  const first = IDS[0]!;
  assert.ok(!IDS.slice(1).includes(first));
  const sampling = { ...GREEDY, repeatPenalty: 1e6, logitBias: new Map([[first, 100]]) };
  const whole = { slot: 0, tokens: IDS, start: 0, prior: [], blockTables: [[0, 1, 2]], sampling };
  const expected = await sample(runner, whole);
  assert.notEqual(expected[0], first);
  const end = { ...whole, slot: 1, tokens: IDS.slice(32), start: 32 };
  assert.deepEqual(await sample(runner, { ...end, prior: IDS.slice(0, 32) }), expected);
  // Slot 1 now has the whole prompt in its history, and must drop it.
  assert.deepEqual(await sample(runner, { ...end, prior: [] }), [first]);
});

Deno.test("Reference runner copies blocks between steps, in order", async () => {
  const runner = tinyRunner("qwen3", "F32", { blocks: [8] });
  const expected = (await logitsOf(runner, IDS)).at(-1)!;
  const tokens = IDS.slice(32);
  const fork = { slot: 1, tokens, start: 32, logits: "last" } as const;
  const copies = [{ group: 0, from: 0, to: 6 }, { group: 0, from: 1, to: 4 }];
  runner.copyBlocks(copies);
  copies.length = 0;
  // Block 0 is overwritten after the copy was requested.
  const other = runner.submit({
    sequences: [{ slot: 2, tokens: [1], start: 0, blockTables: [[0]] }],
  });
  assert.deepEqual((await run(runner, { ...fork, blockTables: [[6, 4, 2]] })).at(-1), expected);
  await other.read();
  assert.notDeepEqual((await run(runner, { ...fork, blockTables: [[0, 4, 2]] })).at(-1), expected);
});

Deno.test("Reference runner makes its own copy of a batch", async () => {
  const runner = tinyRunner("llama", "Q8_0");
  const expected = await logitsOf(runner, IDS);
  const tokens = [...IDS];
  const blockTables = [[0, 1, 2]];
  const step = runner.submit({
    sequences: [{ slot: 0, tokens, start: 0, blockTables, logits: "all" }],
  });
  tokens.fill(0);
  blockTables[0]!.fill(9);
  assert.deepEqual((await step.read()).logits[0], expected);
});

Deno.test("Reference runner refuses to continue from a token that its slot has not sampled", async () => {
  const runner = tinyRunner("llama", "Q8_0");
  const start = { slot: 0, tokens: IDS, start: 0, blockTables: [[0, 1, 2]] };
  const next = { slot: 0, tokens: null, start: IDS.length, blockTables: [[0, 1, 2]] };
  const goOn = () => runner.submit({ sequences: [next] });
  assert.throws(goOn, /slot 0 has no sampled token/);
  await sample(runner, { ...start, sampling: GREEDY });
  assert.equal((await run(runner, { ...next, logits: "last" })).length, 1);
  assert.throws(goOn, RangeError);
});
