/** The ModelRunner of the CPU: WebAssembly on threads that share one memory. */

import type { ProductForm } from "../../kernels/wasm/products.ts";
import type { ModelConfig } from "../model/config.ts";
import { checkBatch } from "../run/check_batch.ts";
import { deliver } from "../run/event_loop.ts";
import { checkLogits } from "../run/finite_logits.ts";
import {
  type Batch,
  type BatchSequence,
  type BlockCopy,
  type KernelTime,
  type ModelRunner,
  type PendingStep,
  type RunnerDevice,
  type RunnerLimits,
  type SamplingOptions,
  type StepOutput,
} from "../run/runner.ts";
import { processorName } from "../run/processor_name.ts";
import { sampleToken } from "../run/sampler.ts";
import { Slot } from "../run/slot.ts";
import { StatePositions } from "../run/state_positions.ts";
import { FORM_NAMES } from "./forms.ts";
import {
  type EnteringSequence,
  type EnteringToken,
  type LogitRow,
  type Stepper,
  type StepTiming,
} from "./step.ts";
import { plural } from "../plural.ts";

/** Bytes of the shared memory by purpose. */
export type MemoryUse = Readonly<Record<"weights" | "kv" | "scratch" | "readback", number>>;

export class CpuRunner implements ModelRunner {
  readonly device: RunnerDevice;
  readonly #slots: Slot[];
  /** Slots whose last submitted step samples a token. */
  readonly #sampling = new Set<number>();
  readonly #states: StatePositions;
  /** Resolves when everything submitted so far has run. */
  #queue: Promise<unknown> = Promise.resolve();
  /** Number of calls of `abandon`. Each call cancels everything submitted before it. */
  #abandoned = 0;

  readonly #load: () => Promise<void>;
  readonly stepper: Stepper;
  readonly form: ProductForm;
  /** Bytes by purpose, in the categories of a GPU's buffers. For the KV cache, its maximum size. */
  readonly memory: MemoryUse;

  constructor(
    readonly config: ModelConfig,
    readonly limits: RunnerLimits,
    { stepper, form, memory, load }: {
      readonly stepper: Stepper;
      readonly form: ProductForm;
      readonly memory: MemoryUse;
      /** Reads the weights again. */
      readonly load: () => Promise<void>;
    },
  ) {
    this.#states = new StatePositions(config);
    this.stepper = stepper;
    this.form = form;
    this.memory = memory;
    this.#load = load;
    const { threads } = this;
    this.device = {
      kind: "cpu",
      description: processorName(),
      detail: `${threads} ${plural(threads, "thread")}, ${FORM_NAMES[form]}`,
      driver: "software",
    };
    this.#slots = Array.from({ length: limits.maxSequences }, () => new Slot());
  }

  get threads(): number {
    return this.stepper.context.pool.threads;
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
    const { steps = 1, timing, anew } = batch;
    const sequences = batch.sequences.map(copySequence);
    const times = timing && { kind: timing, kernels: [] as KernelTime[] };
    const from = this.#abandoned;
    const isWanted = () => from === this.#abandoned;
    const output = this.#enqueue(async () => {
      this.stepper.isWanted = isWanted;
      if (anew?.weights) await this.#load();
      if (anew?.buffers) this.stepper.clear();
      return await this.#run(sequences, steps, times);
    });
    return { read: () => output };
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    const own = structuredClone(copies);
    const { cache } = this.stepper.model;
    const { memory } = this.stepper.context;
    this.#enqueue(() => own.forEach((copy) => cache.copyBlock(memory, copy)));
  }

  abandon(): void {
    this.#abandoned++;
  }

  destroy(): void {
    this.stepper.context.pool.destroy();
  }

  /** Runs `work` after everything that was submitted before. */
  #enqueue<T>(work: () => T | Promise<T>): Promise<T> {
    // Earlier results are delivered first, because this thread cannot do so while `work` runs.
    const done = this.#queue.then(deliver).then(work);
    // A failure is reported to whoever reads this step. Later steps still run.
    this.#queue = done.catch(() => {});
    return done;
  }

  async #run(
    sequences: readonly BatchSequence[],
    steps: number,
    timing: StepTiming | undefined,
  ): Promise<StepOutput> {
    const from = performance.now();
    const output = {
      tokens: sequences.map((): number[] => []),
      logits: sequences.map((): Float32Array[] => []),
    };
    await this.#step(sequences, output, timing);
    for (let step = 1; step < steps; step++) {
      // Omits `prior`, because a slot that receives it forgets the tokens of the first step.
      const entering = sequences.map(({ prior: _, ...sequence }) => ({
        ...sequence,
        tokens: null,
        start: sequence.start + step,
      }));
      await this.#step(entering, output, timing);
    }
    const span = { from, launched: from, to: performance.now() };
    return { ...output, span, ...(timing && { kernels: timing.kernels }) };
  }

  /** Runs one token, or the tokens of one prefill chunk, of each sequence. */
  async #step(
    sequences: readonly BatchSequence[],
    output: { readonly tokens: number[][]; readonly logits: Float32Array[][] },
    timing: StepTiming | undefined,
  ): Promise<void> {
    const tokens: EnteringToken[] = [];
    const entering: EnteringSequence[] = [];
    const wanted: number[][] = []; // by sequence, the tokens whose logits are needed
    for (const [i, sequence] of sequences.entries()) {
      const { slot, start, blockTables, sampling, logits } = sequence;
      const ids = this.#slots[slot]!.enter(sequence);
      const places = ids.map((_, i) => tokens.length + i);
      entering.push({ slot, start, count: ids.length, blockTables });
      ids.forEach((id, at) => tokens.push({ id, position: start + at, sequence: i }));
      wanted.push(logits === "all" ? places : logits || sampling ? places.slice(-1) : []);
    }
    await this.stepper.forward(tokens, entering, timing);
    const rows = await this.stepper.logits(wanted.flat(), timing);
    if (!this.stepper.isWanted()) return;
    for (const [i, { slot, sampling, logits }] of sequences.entries()) {
      const own = rows.splice(0, wanted[i]!.length);
      if (!own.every(({ finite }) => finite)) {
        checkLogits(own.map((row) => row.logits), this.config);
      }
      if (logits) output.logits[i]!.push(...own.map((row) => row.logits.slice()));
      if (sampling) {
        const state = this.#slots[slot]!;
        state.sampled = sample(own.at(-1)!, sampling, state);
        output.tokens[i]!.push(state.sampled);
      }
    }
  }
}

/**
 * Copies what the engine may change before the step runs. A structured clone would take a tenth of
 * the time of a small model's step.
 */
function copySequence(sequence: BatchSequence): BatchSequence {
  const { tokens, blockTables } = sequence;
  return {
    ...sequence,
    tokens: tokens && tokens.slice(),
    blockTables: blockTables.map((table) => table.slice()),
  };
}

/** Samples a token from a row's logits, which may be changed. */
function sample(
  { logits, best }: LogitRow,
  sampling: SamplingOptions,
  { recent, length }: Slot,
): number {
  const { temperature, repeatPenalty, logitBias } = sampling;
  if (temperature === 0 && repeatPenalty === 1 && !logitBias?.size) return best;
  return sampleToken(logits, sampling, { recent, position: length });
}
