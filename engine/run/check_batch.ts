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
    throw fault(`${steps} steps; there may be 1 to ${MOST_STEPS}`);
  }
  if (batch.sequences.length > limits.maxSequences) {
    throw fault(`${batch.sequences.length} sequences; the runner takes ${limits.maxSequences}`);
  }
  const tokens = batch.sequences.reduce((sum, s) => sum + (s.tokens?.length ?? 1), 0);
  if (tokens > limits.maxBatchTokens) {
    throw fault(`${tokens} tokens; the runner takes ${limits.maxBatchTokens}`);
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
  const wrong = (what: string) => fault(`${what} in slot ${slot}`);
  const count = tokens?.length ?? 1;
  if (!within(slot, limits.maxSequences)) {
    throw fault(`slot ${slot}; the runner has ${limits.maxSequences}`);
  }
  if (count === 0) throw wrong("no tokens");
  if (steps > 1 && (count !== 1 || sampling === undefined)) {
    throw wrong(`${steps} steps, and not one token that is sampled after,`);
  }
  if (steps > 1 && logits !== undefined) throw wrong(`${steps} steps, and logits wanted,`);
  if (!Number.isInteger(start) || start < 0) throw wrong(`start ${start}`);
  const end = start + count + steps - 1;
  if (end > config.contextLength) {
    throw wrong(`${end} positions, beyond the context of ${config.contextLength},`);
  }
  if (blockTables.length !== limits.blocks.length) {
    throw wrong(`${blockTables.length} tables of blocks for ${limits.blocks.length} groups`);
  }
  for (const [group, table] of blockTables.entries()) {
    if (table.length * BLOCK_TOKENS < end) {
      throw wrong(`${table.length} blocks of ${BLOCK_TOKENS} for ${end} positions`);
    }
    const blocks = limits.blocks[group]!;
    const block = table.find((b) => !within(b, blocks));
    if (block !== undefined) throw wrong(`block ${block} of ${blocks}`);
  }
  const id = tokens?.find((id) => !within(id, config.vocabSize));
  if (id !== undefined) throw wrong(`token ${id} of a vocabulary of ${config.vocabSize}`);
  const biases = sampling?.logitBias?.size ?? 0;
  if (biases > MOST_BIASES) throw wrong(`${biases} logit biases, more than ${MOST_BIASES},`);
}

function within(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function fault(what: string): RangeError {
  return new RangeError(`Cannot run the batch: ${what}`);
}
