/** The ModelRunner of the CPU: WebAssembly on threads that share one memory. */

import type { KvType } from "../../kernels/sizes.ts";
import { makeKernels } from "../../kernels/wasm/module.ts";
import type { ProductForm } from "../../kernels/wasm/products.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { recurrentOf } from "../model/mixers.ts";
import { checkBatch } from "../run/check_batch.ts";
import { deliver, type Pause, pausesFor } from "../run/event_loop.ts";
import { checkLogits } from "../run/finite_logits.ts";
import {
  type Batch,
  type BatchSequence,
  BLOCK_TOKENS,
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
import { fastestForm, FORM_NAMES } from "./forms.ts";
import { KvCache } from "./kv_cache.ts";
import { Layout, SharedMemory } from "./memory.ts";
import { Scratch } from "./scratch.ts";
import { StateCache } from "./state_cache.ts";
import {
  type EnteringSequence,
  type EnteringToken,
  type LogitRow,
  Stepper,
  type StepTiming,
} from "./step.ts";
import { controlBytes, ThreadPool } from "./thread_pool.ts";
import { keepFastestThreads } from "./tune.ts";
import { WeightPlan } from "./weights.ts";
import { plural } from "../plural.ts";

/** What a CPU runner may be told. */
export interface CpuRunnerOptions {
  /** By group of layers; default those of one sequence of the context length, of at most 4,096 tokens. */
  readonly blocks?: readonly number[];
  /** Default 8. */
  readonly maxSequences?: number;
  /** Default what takes about half a second, of at most 128. */
  readonly maxBatchTokens?: number;
  /** How keys and values are kept; default f16. */
  readonly kvType?: KvType;
  /** Threads, the caller's included; default the count up to the logical processors that is fastest. */
  readonly threads?: number;
  /** The form of the integer dot product; default the one that is fastest here. */
  readonly form?: ProductForm;
  /** Called with the bytes of weights read so far. */
  readonly progress?: (bytes: number) => void;
  /** Called between pieces that are read; what it throws ends the load. */
  readonly pause?: Pause;
  /** Called while the threads start, before the weights are read. */
  readonly meanwhile?: () => void;
}

/**
 * Loads a model into memory that all threads share, its weights packed anew as they are read. A
 * token's results are the same bits alone and in any batch, on any number of threads.
 *
 * @throws {ModelFormatError} if the file lacks a weight that `config` calls for, or got shorter.
 * @throws {DeviceError} "out-of-memory" if the system does not give so much.
 */
export async function loadCpuRunner(
  file: ModelFile,
  config: ModelConfig,
  options: CpuRunnerOptions = {},
): Promise<CpuRunner> {
  const longest = Math.min(config.contextLength, 4096);
  const threads = options.threads ?? navigator.hardwareConcurrency;
  const given = {
    blocks: options.blocks ?? kvGroups(config).map(() => Math.ceil(longest / BLOCK_TOKENS)),
    maxSequences: options.maxSequences ?? 8,
  };
  const layout = new Layout();
  const control = layout.allocate(controlBytes(threads));
  const plan = new WeightPlan(file, config, layout);
  const limits = { ...given, maxBatchTokens: options.maxBatchTokens ?? batchTokens(plan) };
  const weightBytes = layout.bytes;
  const scratch = new Scratch(layout, config, {
    tokens: limits.maxBatchTokens,
    sequences: limits.maxSequences,
    contextLength: Math.min(config.contextLength, limits.blocks[0]! * BLOCK_TOKENS),
    threads,
  });
  const scratchBytes = scratch.bytes;
  const cache = new KvCache(layout, config, {
    blocks: limits.blocks,
    type: options.kvType ?? "f16",
  });
  const states = new StateCache(layout, config, limits.maxSequences);
  const memory = new SharedMemory(layout.pages);
  const form = options.form ?? fastestForm();
  const { bytes, index, names } = makeKernels({
    types: plan.types,
    activations: gateActivations(config),
    recurrent: recurrentOf(config.layers),
    cache: cache.type,
    form,
    wide: memory.wide,
    maximum: memory.maximum,
  });
  const pool = new ThreadPool(memory, new WebAssembly.Module(bytes), { control, threads });
  try {
    options.meanwhile?.();
    scratch.prepare(memory);
    const { progress, pause = pausesFor() } = options;
    for (const bytes of plan.loads(pool, index)) {
      progress?.(bytes);
      await pause();
    }
    await pool.ready();
  } catch (error) {
    pool.destroy();
    throw error;
  }
  const model = { config, weights: plan.weights, cache, states };
  const pauses = new Pauses();
  const context = { memory, scratch, index, form, pool };
  if (options.threads === undefined) keepFastestThreads(context, plan.weights);
  const stepper = new Stepper(context, model, { names, pause: () => pauses.next() });
  const memoryUse = {
    weights: weightBytes,
    scratch: scratchBytes,
    kv: layout.bytes - weightBytes - scratchBytes,
    readback: 0,
  };
  const load = () => plan.load(pool, index);
  return new CpuRunner(config, limits, { stepper, form, memory: memoryUse, load });
}

/** What the gates of a model pass. */
function gateActivations({ layers }: ModelConfig): ("silu" | "gelu")[] {
  return layers.flatMap(({ feedForward }) => {
    const { activation } = feedForward ?? {};
    return activation === undefined || activation === "relu2" ? [] : [activation];
  });
}

/** Products a second that two threads of an ordinary processor do, and how long a step may take. */
const PRODUCTS = 15e9;
const STEP_SECONDS = 0.5;

/** Tokens that enter in one step: so few that a step of a large model can be waited for. */
function batchTokens({ products }: WeightPlan): number {
  const tokens = STEP_SECONDS * PRODUCTS / products;
  return Math.min(128, Math.max(8, Math.round(tokens / 8) * 8));
}

/** How long the event loop may wait for the model, so that Ctrl-C and timers are heard. */
const PAUSE_MS = 50;

class Pauses {
  #started = performance.now();

  /** A pause for the event loop, where the last one was long ago. */
  next(): Promise<void> | undefined {
    if (performance.now() - this.#started < PAUSE_MS) return undefined;
    return new Promise((resolve) =>
      setTimeout(() => {
        this.#started = performance.now();
        resolve();
      })
    );
  }
}

/** Bytes of the shared memory. */
export type MemoryUse = Readonly<Record<"weights" | "kv" | "scratch" | "readback", number>>;

export class CpuRunner implements ModelRunner {
  readonly device: RunnerDevice;
  readonly #slots: Slot[];
  /** Slots whose last submitted step samples. */
  readonly #sampling = new Set<number>();
  readonly #states: StatePositions;
  /** Ends when all that was submitted has run. */
  #queue: Promise<unknown> = Promise.resolve();
  /** How often all that was submitted before was abandoned. */
  #abandoned = 0;

  readonly #load: () => void;
  readonly stepper: Stepper;
  readonly form: ProductForm;
  /** Bytes by purpose, as a GPU's buffers have them; of the cache, what it may take. */
  readonly memory: MemoryUse;

  constructor(
    readonly config: ModelConfig,
    readonly limits: RunnerLimits,
    { stepper, form, memory, load }: {
      readonly stepper: Stepper;
      readonly form: ProductForm;
      readonly memory: MemoryUse;
      /** Reads the weights again. */
      readonly load: () => void;
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
          `Cannot run the batch: slot ${slot} has sampled no token to continue from`,
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
    const output = this.#enqueue(() => {
      this.stepper.isWanted = isWanted;
      if (anew?.weights) this.#load();
      if (anew?.buffers) this.stepper.clear();
      return this.#run(sequences, steps, times);
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

  /** Runs `work` after all that was submitted before. */
  #enqueue<T>(work: () => T | Promise<T>): Promise<T> {
    // What came before is delivered first: this thread has no time for it meanwhile.
    const done = this.#queue.then(deliver).then(work);
    // A failure is its reader's; the steps after it run.
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
      // Without `prior`, with which a slot would forget what the first step entered.
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

  /** One token, or the tokens of one prefill chunk, of each sequence. */
  async #step(
    sequences: readonly BatchSequence[],
    output: { readonly tokens: number[][]; readonly logits: Float32Array[][] },
    timing: StepTiming | undefined,
  ): Promise<void> {
    const tokens: EnteringToken[] = [];
    const entering: EnteringSequence[] = [];
    const wanted: number[][] = []; // per sequence, the tokens that logits are needed after
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
 * What the engine may change before the step runs is copied; a structured clone takes a tenth of a
 * small model's step.
 */
function copySequence(sequence: BatchSequence): BatchSequence {
  const { tokens, blockTables } = sequence;
  return {
    ...sequence,
    tokens: tokens && tokens.slice(),
    blockTables: blockTables.map((table) => table.slice()),
  };
}

/** Chooses from a row's logits, which it changes. */
function sample(
  { logits, best }: LogitRow,
  sampling: SamplingOptions,
  { recent, length }: Slot,
): number {
  const { temperature, repeatPenalty, logitBias } = sampling;
  if (temperature === 0 && repeatPenalty === 1 && !logitBias?.size) return best;
  return sampleToken(logits, sampling, { recent, position: length });
}
