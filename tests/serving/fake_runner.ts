/**
 * A ModelRunner without a model. Its KV cache holds, for each position of each block, which token
 * was written there; the token it samples is a hash of all that a sequence reads through its block
 * table. So a wrong table, a block used twice or a lost token changes what comes out, and `answer`
 * says what should come out. It also checks that the batch keeps the contract.
 */

import assert from "node:assert/strict";
import type { ModelConfig } from "../../engine/model/config.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  type ModelRunner,
  type PendingStep,
  REPEAT_WINDOW,
  type RunnerLimits,
  type StepOutput,
} from "../../engine/run/runner.ts";

export const VOCAB = 32;

/** The token after `history`: FNV-1a over the tokens and the seed. */
function nextToken(history: readonly number[], seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const token of history) hash = Math.imul(hash ^ token, 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % VOCAB;
}

/** What a request must get, computed without any engine. */
export function answer(
  request: {
    readonly promptIds: readonly number[];
    readonly maxTokens: number;
    readonly stopIds: readonly number[];
    readonly sampling: { readonly seed: number };
  },
  contextLength = Infinity,
): number[] {
  const history = [...request.promptIds];
  const end = Math.min(history.length + request.maxTokens, contextLength);
  while (history.length < end) {
    history.push(nextToken(history, request.sampling.seed));
    if (request.stopIds.includes(history.at(-1)!)) break;
  }
  return history.slice(request.promptIds.length);
}

interface Cell {
  readonly position: number;
  readonly token: number;
}

export class FakeRunner implements ModelRunner {
  readonly config: ModelConfig;
  readonly device = { kind: "cpu", description: "fake", driver: "software" } as const;
  limits: RunnerLimits;
  /** Every batch that was submitted, for tests to look at. */
  readonly batches: Batch[] = [];
  readonly copies: (readonly [number, number])[] = [];
  reads = 0;
  /** Called at each submit and each read with how many there were before. */
  onSubmit: (count: number) => void = () => {};
  onRead: (count: number) => void | Promise<void> = () => {};
  readonly #cells: (Cell | undefined)[] = [];
  /** What each slot remembers: the tokens that entered, and the one sampled last. */
  readonly #slots = new Map<number, { recent: number[]; sampled: number }>();

  constructor(limits: Partial<RunnerLimits> = {}, contextLength = 4096) {
    this.limits = { blocks: 64, maxSequences: 8, maxBatchTokens: 512, ...limits };
    // All that the engine looks at.
    const config: Partial<ModelConfig> = { vocabSize: VOCAB, contextLength };
    this.config = config as ModelConfig;
  }

  submit(batch: Batch): PendingStep {
    this.onSubmit(this.batches.length);
    this.#check(batch);
    this.batches.push({ ...batch, sequences: batch.sequences.map((row) => ({ ...row })) });
    const output = this.#execute(batch);
    return {
      read: async () => {
        await this.onRead(this.reads++);
        return output;
      },
    };
  }

  /** Runs a batch and returns at once, for tests without an event loop. */
  submitNow(batch: Batch): StepOutput {
    this.#check(batch);
    return this.#execute(batch);
  }

  copyBlocks(pairs: readonly (readonly [number, number])[]): void {
    const targets = new Set(pairs.map(([, to]) => to));
    assert.equal(targets.size, pairs.length, "two copies into one block");
    for (const [from, to] of pairs) {
      assert.ok(!targets.has(from), "a block is source and target of copies");
      for (let i = 0; i < BLOCK_TOKENS; i++) {
        this.#cells[to * BLOCK_TOKENS + i] = this.#cells[from * BLOCK_TOKENS + i];
      }
    }
    this.copies.push(...pairs);
  }

  destroy(): void {}

  /** The contract of ModelRunner and of Batch. */
  #check({ sequences, steps = 1 }: Batch): void {
    const { blocks, maxSequences, maxBatchTokens } = this.limits;
    assert.ok(sequences.length > 0 && sequences.length <= maxSequences, "sequences in the batch");
    const entering = sequences.map(({ tokens }) => tokens?.length ?? 1);
    assert.ok(entering.every((count) => count > 0), "a sequence enters nothing");
    assert.ok(entering.reduce((a, b) => a + b) <= maxBatchTokens, "tokens in the batch");
    assert.equal(new Set(sequences.map(({ slot }) => slot)).size, sequences.length, "equal slots");
    const writer = new Map<number, BatchSequence>();
    for (const [i, row] of sequences.entries()) {
      assert.ok(row.slot >= 0 && row.slot < maxSequences, "slot");
      assert.ok(steps === 1 || (entering[i] === 1 && row.sampling), "a chain of more than decodes");
      const end = row.start + entering[i]! + steps - 1;
      assert.ok(end <= this.config.contextLength, "context length");
      assert.ok(end <= row.blockTable.length * BLOCK_TOKENS, "the table covers what is written");
      assert.equal(new Set(row.blockTable).size, row.blockTable.length, "a block twice in a table");
      assert.ok(row.blockTable.every((block) => block >= 0 && block < blocks), "block numbers");
      const first = Math.floor(row.start / BLOCK_TOKENS), last = Math.ceil(end / BLOCK_TOKENS);
      for (const block of row.blockTable.slice(first, last)) writer.set(block, row);
    }
    for (const row of sequences) {
      for (const block of row.blockTable) {
        assert.ok((writer.get(block) ?? row) === row, "a block is written by one, read by another");
      }
    }
  }

  #execute({ sequences, steps = 1 }: Batch): StepOutput {
    const tokens = sequences.map((row) => {
      if (row.prior) this.#slots.set(row.slot, { recent: [...row.prior], sampled: NaN });
      const slot = this.#slots.get(row.slot);
      assert.ok(slot, "a slot's first batch has no prior");
      const sampled: number[] = [];
      let start = row.start;
      let entering = row.tokens ?? [slot.sampled];
      for (let step = 0; step < steps; step++) {
        slot.recent.push(...entering);
        this.#write(row, start, entering);
        const history = this.#read(row, start + entering.length);
        assert.deepEqual(
          slot.recent.slice(-REPEAT_WINDOW),
          history.slice(-REPEAT_WINDOW),
          "window",
        );
        if (!row.sampling) break;
        slot.sampled = nextToken(history, row.sampling.seed);
        sampled.push(slot.sampled);
        start += entering.length;
        entering = [slot.sampled];
      }
      return sampled;
    });
    const logits = sequences.map((row, i) => row.logits ? [peak(tokens[i]![0]!)] : []);
    return { tokens, logits };
  }

  #write({ blockTable }: BatchSequence, start: number, tokens: readonly number[]): void {
    for (const [i, token] of tokens.entries()) {
      this.#cells[cellOf(blockTable, start + i)] = { position: start + i, token };
    }
  }

  /** What attention sees: the tokens at positions 0 to `length` − 1. */
  #read({ blockTable }: BatchSequence, length: number): number[] {
    const history: number[] = [];
    for (let position = 0; position < length; position++) {
      const cell = this.#cells[cellOf(blockTable, position)];
      assert.equal(cell?.position, position, "a cell holds another position");
      history.push(cell.token);
    }
    return history;
  }
}

function cellOf(blockTable: readonly number[], position: number): number {
  return blockTable[Math.floor(position / BLOCK_TOKENS)]! * BLOCK_TOKENS + position % BLOCK_TOKENS;
}

/** Logits of 0 but for one token, of which exp(logit) is as much as all others together. */
function peak(token: number): Float32Array {
  const logits = new Float32Array(VOCAB);
  logits[token] = Math.log(VOCAB - 1);
  return logits;
}
