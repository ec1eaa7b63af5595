/** The oracle: ModelRunner in plain TypeScript, for tests and `--verify`. */

import type { KvType } from "../../kernels/sizes.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { checkBatch } from "../run/check_batch.ts";
import { StepPauses } from "../run/event_loop.ts";
import { checkLogits } from "../run/finite_logits.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
  type BlockCopy,
  type ModelRunner,
  type PendingStep,
  type RunnerDevice,
  type RunnerLimits,
  type StepOutput,
} from "../run/runner.ts";
import { processorName } from "../run/processor_name.ts";
import { sampleToken } from "../run/sampler.ts";
import { Slot } from "../run/slot.ts";
import { StatePositions } from "../run/state_positions.ts";
import { KvCache, rowsOf } from "./kv_cache.ts";
import { type EnteringToken, Transformer } from "./transformer.ts";
import { loadWeights } from "./weights.ts";

/** Options of a reference runner. */
export interface ReferenceRunnerOptions {
  /**
   * KV cache blocks of each group of layers. Default: those of one sequence of the context length,
   * at most 4,096 tokens.
   */
  readonly blocks?: readonly number[];
  /** Default: 8. */
  readonly maxSequences?: number;
  /** Default: 128. */
  readonly maxBatchTokens?: number;
  /** Element type of the KV cache. Default: f32. */
  readonly kvType?: KvType;
}

/**
 * Loads a model into memory. Weights stay packed as they are in the file; rows are unpacked to
 * float32 when they are used. It uses one thread and no device. Sums are float64. A token's results
 * are bit-identical alone and in any batch.
 *
 * @throws {ModelFormatError} if the file lacks a weight that `config` requires, or was truncated.
 */
export function loadReferenceRunner(
  file: ModelFile,
  config: ModelConfig,
  options: ReferenceRunnerOptions = {},
): ModelRunner {
  const context = Math.min(config.contextLength, 4096);
  const limits = {
    blocks: options.blocks ?? kvGroups(config).map(() => Math.ceil(context / BLOCK_TOKENS)),
    maxSequences: options.maxSequences ?? 8,
    maxBatchTokens: options.maxBatchTokens ?? 128,
  };
  const cache = new KvCache(config, limits.blocks, options.kvType ?? "f32");
  const sizes = {
    maxTokens: limits.maxBatchTokens,
    maxPositions: Math.min(config.contextLength, limits.blocks[0]! * BLOCK_TOKENS),
    slots: limits.maxSequences,
  };
  const parts = { weights: loadWeights(file, config), cache };
  const transformer = new Transformer(config, parts, sizes);
  return new ReferenceRunner(transformer, limits);
}

class ReferenceRunner implements ModelRunner {
  readonly config: ModelConfig;
  readonly device: RunnerDevice = {
    kind: "cpu",
    description: processorName(),
    driver: "software",
  };
  readonly #slots: Slot[];
  /** Slots whose last submitted step samples a token. */
  readonly #sampling = new Set<number>();
  readonly #states: StatePositions;
  /** Resolves when everything submitted so far has run. */
  #queue: Promise<unknown> = Promise.resolve();
  readonly #pauses = new StepPauses();

  constructor(readonly transformer: Transformer, readonly limits: RunnerLimits) {
    this.config = transformer.config;
    this.#states = new StatePositions(this.config);
    this.#slots = Array.from({ length: limits.maxSequences }, () => new Slot());
  }

  submit(batch: Batch): PendingStep {
    checkBatch(batch, this.config, this.limits);
    for (const { slot, tokens, sampling } of batch.sequences) {
      if (tokens === null && !this.#sampling.has(slot)) {
        throw new RangeError(
          `Cannot run the batch: slot ${slot} has no sampled token to continue from`,
        );
      }
      if (sampling) this.#sampling.add(slot);
      else this.#sampling.delete(slot);
    }
    this.#states.enter(batch);
    const sequences = structuredClone(batch.sequences);
    const output = this.#enqueue(() => this.#run(sequences, batch.steps ?? 1));
    return { read: () => output };
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    const own = structuredClone(copies);
    this.#enqueue(() => own.forEach((copy) => this.transformer.cache.copyBlock(copy)));
  }

  destroy(): void {
    // Nothing to release: the memory is freed when nothing refers to it any more.
  }

  /** Runs `work` after everything that was submitted before. */
  #enqueue<T>(work: () => T | Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    // A failure is reported to whoever reads this step. Later steps still run.
    this.#queue = done.catch(() => {});
    return done;
  }

  async #run(sequences: readonly BatchSequence[], steps: number): Promise<StepOutput> {
    const output = {
      tokens: sequences.map((): number[] => []),
      logits: sequences.map((): Float32Array[] => []),
    };
    await this.#step(sequences, output);
    for (let step = 1; step < steps; step++) {
      // Omits `prior`, because a slot that receives it forgets the tokens of the first step.
      const entering = sequences.map(({ prior: _, ...sequence }) => ({
        ...sequence,
        tokens: null,
        start: sequence.start + step,
      }));
      await this.#step(entering, output);
    }
    return output;
  }

  /** Runs one token, or the tokens of one prefill chunk, of each sequence. */
  async #step(
    sequences: readonly BatchSequence[],
    output: { readonly tokens: number[][]; readonly logits: Float32Array[][] },
  ): Promise<void> {
    const tokens: EnteringToken[] = [];
    const wanted: number[][] = []; // by sequence, the tokens whose logits are needed
    for (const sequence of sequences) {
      const { slot, start, blockTables, sampling, logits } = sequence;
      const ids = this.#slots[sequence.slot]!.enter(sequence);
      const rows = blockTables.map((table) => rowsOf(table, start + ids.length));
      const places = ids.map((_, i) => tokens.length + i);
      ids.forEach((id, i) => {
        const position = start + i;
        tokens.push({ id, position, slot, rows: rows.map((own) => own.subarray(0, position + 1)) });
      });
      wanted.push(logits === "all" ? places : logits || sampling ? places.slice(-1) : []);
    }
    await this.#drive(this.transformer.forward(tokens));
    const rows = await this.#drive(this.transformer.logits(wanted.flat()));
    for (const [i, { slot, sampling, logits }] of sequences.entries()) {
      const own = rows.splice(0, wanted[i]!.length);
      checkLogits(own, this.config);
      if (logits) output.logits[i]!.push(...own);
      if (sampling) {
        // The sampler may change the logits that are passed to it.
        const row = logits ? own.at(-1)!.slice() : own.at(-1)!;
        const state = this.#slots[slot]!;
        state.sampled = sampleToken(row, sampling, {
          recent: state.recent,
          position: state.length,
        });
        output.tokens[i]!.push(state.sampled);
      }
    }
  }

  /** Runs a computation to its end, and lets the event loop run in between. */
  async #drive<T>(work: Generator<void, T>): Promise<T> {
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
      const pause = this.#pauses.next();
      if (pause) await pause;
    }
  }
}
