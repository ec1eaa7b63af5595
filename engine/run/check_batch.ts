/** Checks that a batch is within a runner's limits, before any of it runs. */

import type { ModelConfig } from "../model/config.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  MOST_BIASES,
  MOST_STEPS,
  type RunnerLimits,
} from "./runner.ts";

/**
 * @throws {RangeError} if the batch exceeds `limits` or the context length, or contradicts itself.
 */
export function checkBatch(batch: Batch, config: ModelConfig, limits: RunnerLimits): void {
  const steps = batch.steps ?? 1;
  if (!Number.isInteger(steps) || steps < 1 || steps > MOST_STEPS) {
    throw fault(`${steps} steps; must be 1 to ${MOST_STEPS}`);
  }
  if (batch.sequences.length > limits.maxSequences) {
    throw fault(
      `${batch.sequences.length} sequences; the runner's limit is ${limits.maxSequences}`,
    );
  }
  const tokens = batch.sequences.reduce((sum, s) => sum + (s.tokens?.length ?? 1), 0);
  if (tokens > limits.maxBatchTokens) {
    throw fault(`${tokens} tokens; the runner's limit is ${limits.maxBatchTokens}`);
  }
  const slots = new Set<number>();
  for (const sequence of batch.sequences) {
    if (slots.has(sequence.slot)) throw fault(`two sequences in slot ${sequence.slot}`);
    slots.add(sequence.slot);
    checkSequence(sequence, { steps, config, limits });
  }
}

function checkSequence(
  sequence: BatchSequence,
  { steps, config, limits }: {
    readonly steps: number;
    readonly config: ModelConfig;
    readonly limits: RunnerLimits;
  },
): void {
  const { slot, tokens, start, blockTables, sampling, logits } = sequence;
  const wrong = (what: string) => fault(`${what} (slot ${slot})`);
  const count = tokens?.length ?? 1;
  if (!within(slot, limits.maxSequences)) {
    throw fault(`slot ${slot}; the runner has ${limits.maxSequences} slots`);
  }
  if (count === 0) throw wrong("no tokens");
  if (steps > 1 && (count !== 1 || sampling === undefined)) {
    throw wrong(`${steps} chained steps need exactly one token and sampling`);
  }
  if (steps > 1 && logits !== undefined) throw wrong(`${steps} chained steps cannot return logits`);
  if (!Number.isInteger(start) || start < 0) throw wrong(`start ${start} is not a position`);
  const end = start + count + steps - 1;
  if (end > config.contextLength) {
    throw wrong(`${end} positions exceed the context of ${config.contextLength}`);
  }
  if (blockTables.length !== limits.blocks.length) {
    throw wrong(`${blockTables.length} block tables for ${limits.blocks.length} groups of layers`);
  }
  for (const [group, table] of blockTables.entries()) {
    if (table.length * BLOCK_TOKENS < end) {
      const needed = Math.ceil(end / BLOCK_TOKENS);
      throw wrong(`${end} positions need ${needed} blocks, but its table has ${table.length}`);
    }
    const blocks = limits.blocks[group]!;
    const block = table.find((b) => !within(b, blocks));
    if (block !== undefined) throw wrong(`block ${block} is not below ${blocks}`);
  }
  const id = tokens?.find((id) => !within(id, config.vocabSize));
  if (id !== undefined) throw wrong(`token ${id} is not in the vocabulary of ${config.vocabSize}`);
  const biases = sampling?.logitBias?.size ?? 0;
  if (biases > MOST_BIASES) {
    throw wrong(`${biases} logit biases exceed the limit of ${MOST_BIASES}`);
  }
}

function within(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function fault(what: string): RangeError {
  return new RangeError(`Cannot run the batch: ${what}`);
}
