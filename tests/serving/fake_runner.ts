/**
 * A ModelRunner without a model. Its KV cache records which token was written at each position of
 * each block. The token it samples is a hash of all tokens that a sequence reads through its block
 * table, so a wrong table, a block used twice or a lost token changes the output. `answer` returns
 * the correct output. The runner also checks that batches follow the contract, and that groups of
 * layers with a window read the same tokens there as the first group.
 */

import assert from "node:assert/strict";
import { DEFAULT_MAX_TOKENS } from "../../engine/run/defaults.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  type BlockCopy,
  type ModelRunner,
  type PendingStep,
  REPEAT_HISTORY,
  type RunnerLimits,
  type StepOutput,
} from "../../engine/run/runner.ts";
import type { GenerationRequest } from "../../engine/run/sequence.ts";

export const VOCAB = 32;

/** Returns the token after `history`: FNV-1a over the tokens and the seed. */
function nextToken(history: readonly number[], seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const token of history) hash = Math.imul(hash ^ token, 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % VOCAB;
}

/** Returns the correct answer to a request, computed without an engine. */
export function answer(
  { promptIds, maxTokens = DEFAULT_MAX_TOKENS, stopIds = [], sampling }: GenerationRequest,
  contextLength = Infinity,
): number[] {
  const history = [...promptIds];
  const end = Math.min(history.length + maxTokens, contextLength);
  while (history.length < end) {
    history.push(nextToken(history, sampling?.seed ?? 0));
    if (stopIds.includes(history.at(-1)!)) break;
  }
  return history.slice(promptIds.length);
}

/** Returns the token that must be the most probable after each token of a text. */
export function favourites(text: readonly number[]): number[] {
  return text.map((_, i) => nextToken(text.slice(0, i + 1), 0));
}

interface Cell {
  readonly position: number;
  readonly token: number;
}

export class FakeRunner implements ModelRunner {
  readonly config: ModelConfig;
  readonly device = { kind: "cpu", description: "fake", driver: "software" } as const;
  limits: RunnerLimits;
  /** Every submitted batch, for tests. */
  readonly batches: Batch[] = [];
  readonly copies: BlockCopy[] = [];
  reads = 0;
  /** Called at each submit and each read, with the number of earlier ones. */
  onSubmit: (count: number) => void = () => {};
  onRead: (count: number) => void | Promise<void> = () => {};
  /** Cells of the KV cache, by group. */
  readonly #cells: (Cell | undefined)[][];
  /** State of each slot: the tokens that entered, and the token sampled last. */
  readonly #slots = new Map<number, { recent: number[]; sampled: number }>();

  /** @param windows windows of the groups of layers after the first, which has none */
  constructor(
    { blocks = 64, ...limits }: Partial<Omit<RunnerLimits, "blocks">> & {
      blocks?: number | readonly number[];
    } = {},
    contextLength = 4096,
    readonly windows: readonly number[] = [],
  ) {
    const all = typeof blocks === "number" ? [blocks, ...windows.map(() => blocks)] : blocks;
    this.limits = { maxSequences: 8, maxBatchTokens: 512, ...limits, blocks: all };
    this.#cells = all.map(() => []);
    // The only parts of a config that the engine reads.
    const kind = "attention";
    const layers = [{ mixer: { kind } }, ...windows.map((window) => ({ mixer: { kind, window } }))];
    this.config = { vocabSize: VOCAB, contextLength, layers } as unknown as ModelConfig;
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

  copyBlocks(copies: readonly BlockCopy[]): void {
    const targets = new Set(copies.map(({ group, to }) => `${group} ${to}`));
    assert.equal(targets.size, copies.length, "two copies into one block");
    for (const { group, from, to } of copies) {
      assert.ok(!targets.has(`${group} ${from}`), "a block is source and target of copies");
      const cells = this.#cells[group]!;
      for (let i = 0; i < BLOCK_TOKENS; i++) {
        cells[to * BLOCK_TOKENS + i] = cells[from * BLOCK_TOKENS + i];
      }
    }
    this.copies.push(...copies);
  }

  /** Returns this runner with a cache that can grow up to `most` blocks in each group. */
  growing(most: number): this & Required<Pick<ModelRunner, "growBlocks">> {
    return Object.assign(this, {
      growBlocks: (group: number, blocks: number): Promise<number> => {
        const grown = this.limits.blocks.with(group, Math.min(blocks, most));
        this.limits = { ...this.limits, blocks: grown };
        return Promise.resolve(grown[group]!);
      },
    });
  }

  destroy(): void {}

  /** Asserts that a batch follows the contract of ModelRunner and of Batch. */
  #check({ sequences, steps = 1 }: Batch): void {
    const { blocks, maxSequences, maxBatchTokens } = this.limits;
    assert.ok(sequences.length > 0 && sequences.length <= maxSequences, "sequences in the batch");
    const entering = sequences.map(({ tokens }) => tokens?.length ?? 1);
    assert.ok(entering.every((count) => count > 0), "a sequence has no tokens");
    assert.ok(entering.reduce((a, b) => a + b) <= maxBatchTokens, "tokens in the batch");
    assert.equal(new Set(sequences.map(({ slot }) => slot)).size, sequences.length, "equal slots");
    const writer = blocks.map(() => new Map<number, BatchSequence>());
    for (const [i, row] of sequences.entries()) {
      assert.ok(row.slot >= 0 && row.slot < maxSequences, "slot");
      assert.ok(
        steps === 1 || (entering[i] === 1 && row.sampling),
        "a chained step that is not a decode",
      );
      const end = row.start + entering[i]! + steps - 1;
      assert.ok(end <= this.config.contextLength, "context length");
      const first = Math.floor(row.start / BLOCK_TOKENS), last = Math.ceil(end / BLOCK_TOKENS);
      for (const [group, table] of row.blockTables.entries()) {
        assert.ok(end <= table.length * BLOCK_TOKENS, "the table covers what is written");
        const seen = this.#seen(group, row.start, table);
        assert.equal(new Set(seen).size, seen.length, "a block twice in a table");
        assert.ok(table.every((block) => block >= 0 && block < blocks[group]!), "block numbers");
        for (const block of table.slice(first, last)) writer[group]!.set(block, row);
      }
    }
    for (const row of sequences) {
      for (const [group, table] of row.blockTables.entries()) {
        for (const block of this.#seen(group, row.start, table)) {
          const other = writer[group]!.get(block) ?? row;
          assert.ok(other === row, "a block is written by one, read by another");
        }
      }
    }
  }

  /** Returns the blocks of a group that tokens from position `start` on attend to. */
  #seen(group: number, start: number, table: readonly number[]): readonly number[] {
    const window = group === 0 ? Infinity : this.windows[group - 1]!;
    return table.slice(Math.floor(Math.max(0, start + 1 - window) / BLOCK_TOKENS));
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
          slot.recent.slice(-REPEAT_HISTORY),
          history.slice(-REPEAT_HISTORY),
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
    const logits = sequences.map((row, i) => {
      if (row.logits === "all") return this.#favourites(row).map(peak);
      return row.logits ? [peak(tokens[i]![0]!)] : [];
    });
    return { tokens, logits };
  }

  #favourites(row: BatchSequence): number[] {
    const length = row.start + row.tokens!.length;
    return favourites(this.#read(row, length)).slice(row.start);
  }

  #write({ blockTables }: BatchSequence, start: number, tokens: readonly number[]): void {
    for (const [group, table] of blockTables.entries()) {
      for (const [i, token] of tokens.entries()) {
        this.#cells[group]![cellOf(table, start + i)] = { position: start + i, token };
      }
    }
  }

  /** Returns the tokens that attention sees, at positions 0 to `length` − 1. */
  #read({ blockTables }: BatchSequence, length: number): number[] {
    const histories = blockTables.map((table, group) => {
      const window = group === 0 ? Infinity : this.windows[group - 1]!;
      const history: number[] = [];
      for (let position = Math.max(0, length - window); position < length; position++) {
        const cell = this.#cells[group]![cellOf(table, position)];
        assert.equal(cell?.position, position, "a cell holds another position");
        history.push(cell.token);
      }
      return history;
    });
    const [all, ...within] = histories;
    for (const own of within) assert.deepEqual(own, all!.slice(-own.length), "within a window");
    return all!;
  }
}

function cellOf(blockTable: readonly number[], position: number): number {
  return blockTable[Math.floor(position / BLOCK_TOKENS)]! * BLOCK_TOKENS + position % BLOCK_TOKENS;
}

/** Returns logits that give one token half of the probability; the others share the rest. */
function peak(token: number): Float32Array {
  const logits = new Float32Array(VOCAB);
  logits[token] = Math.log(VOCAB - 1);
  return logits;
}
