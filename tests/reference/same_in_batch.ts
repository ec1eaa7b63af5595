/** Compares a sequence's results in a batch with those alone. */

import assert from "node:assert/strict";
import { type BatchSequence, GREEDY, type ModelRunner } from "../../engine/run/runner.ts";
import { blocksFor, sample } from "./tiny_runner.ts";

/** Sampling options that are all in effect. */
export const SAMPLED = {
  ...GREEDY,
  temperature: 1,
  topK: 40,
  topP: 0.95,
  minP: 0.01,
  repeatPenalty: 1.3,
};

/**
 * Asserts that three sequences of different lengths get the same bits and tokens alone and in one
 * batch. They are parts of `ids`, which has at least 39 tokens. The runner must have at least 16
 * blocks and three slots.
 */
export async function assertSameInBatch(
  runner: ModelRunner,
  ids: readonly number[],
): Promise<void> {
  const prompts = [ids.slice(0, 17), ids.slice(3, 5), ids.slice(20)];
  const start = (prompt: readonly number[], slot: number): BatchSequence => ({
    slot,
    tokens: prompt,
    start: 0,
    prior: [],
    blockTables: [blocksFor(40, slot * 4)],
    sampling: { ...SAMPLED, seed: slot },
    logits: slot === 1 ? "all" : "last",
  });
  const next = (prompt: readonly number[], slot: number): BatchSequence => {
    const { prior: _, logits: __, ...rest } = start(prompt, slot);
    return { ...rest, tokens: null, start: prompt.length };
  };
  const alone: number[][] = [];
  const rows: (readonly Float32Array[])[] = [];
  for (const [slot, prompt] of prompts.entries()) {
    const first = await runner.submit({ sequences: [start(prompt, slot)] }).read();
    rows.push(first.logits[0]!);
    alone.push([...first.tokens[0]!, ...await sample(runner, next(prompt, slot), 8)]);
  }
  const together = await runner.submit({ sequences: prompts.map(start) }).read();
  assert.deepEqual(together.logits, rows);
  const rest = await runner.submit({ sequences: prompts.map(next), steps: 8 }).read();
  const all = together.tokens.map((first, i) => [...first, ...rest.tokens[i]!]);
  assert.deepEqual(all, alone);
  assert.ok(new Set(all[0]).size > 5, "sampling that repeats itself would prove little");
}
