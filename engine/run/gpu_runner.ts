/** The ModelRunner of the GPU: a step's metadata, its dispatches, and reading back what it made. */

import type { KvType } from "../../kernels/specs.ts";
import { logitAdjustSpec, sampleChunksSpec, samplePickSpec } from "../../kernels/sampling_specs.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning.ts";
import type { ModelFile } from "../files/model_file.ts";
import { Uploader, withMemoryCheck } from "../gpu/buffers.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Dispatch, Recorder } from "../gpu/pass.ts";
import { Pipelines } from "../gpu/pipelines.ts";
import { Readback } from "../gpu/readback.ts";
import { createScratch, type Scratch } from "../gpu/scratch.ts";
import type { ModelConfig } from "../models/config.ts";
import { loadTransformer, type Transformer } from "../models/transformer.ts";
import { checkBatch } from "./check_batch.ts";
import {
  type Batch,
  BLOCK_TOKENS,
  type ModelRunner,
  MOST_LOGIT_ROWS,
  type PendingStep,
  REPEAT_WINDOW,
  type RunnerDevice,
  type RunnerLimits,
  type StepOutput,
} from "./model_runner.ts";
import { logitRows, type StepLimits, stepWords, writeStep } from "./step_metadata.ts";

/** Decode steps that one submit can chain. */
const MAX_STEPS = 8;
/** What sample_pick writes where a logit is NaN. */
const INVALID = 0xffffffff;

export interface GpuRunnerOptions {
  /** Longest sequence in tokens. */
  readonly contextLength: number;
  /** Blocks of the KV cache; default one sequence of `contextLength`. */
  readonly blocks?: number;
  readonly maxSequences?: number;
  readonly kv?: KvType;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
}

/** Runs one model on one GPU. */
export class GpuRunner implements ModelRunner {
  readonly device: RunnerDevice;
  readonly #limits: Omit<RunnerLimits, "blocks">;
  readonly #adjust: (count: number) => Dispatch;
  readonly #choose: ((count: number) => Dispatch)[];
  readonly #uploader: Uploader;
  readonly #words: Uint32Array<ArrayBuffer>;
  /**
   * Launches the step that is recorded and not yet with the device. Deno's mapAsync waits for all that
   * was launched, so a step is held back until the one before it is read: it is prepared while that
   * one runs, and does not delay its result.
   */
  #launch: (() => void) | undefined;
  /** Steps that were launched and not yet read. */
  #running = 0;

  private constructor(
    readonly gpu: Gpu,
    readonly config: ModelConfig,
    readonly pipelines: Pipelines,
    readonly scratch: Scratch,
    readonly transformer: Transformer,
    readonly readback: Readback,
    readonly contextLength: number,
    tuning: Tuning,
    limits: Omit<RunnerLimits, "blocks">,
  ) {
    this.device = { kind: "gpu", description: gpu.description, driver: gpu.driver };
    this.#limits = limits;
    this.#uploader = new Uploader(gpu);
    this.#words = new Uint32Array(pipelines.stepBytes / 4);
    const { vocabSize: vocabulary } = config;
    const { sampleLanes: lanes, sampleChunk: chunk } = tuning;
    const { logits, chunks, last, history, sampled, metadata } = scratch;
    const bound = (
      spec: Parameters<Pipelines["get"]>[0],
      buffers: Record<number, GPUBuffer>,
      // Workgroups for one row; the kernels of one workgroup a row have the rows in x.
      chunks?: number,
    ) => {
      const pipeline = pipelines.get(spec);
      const group = pipelines.bind(pipeline, buffers);
      return (count: number): Dispatch => ({
        pipeline,
        group,
        workgroups: chunks === undefined ? [count, 1] : [chunks, count],
      });
    };
    const count = Math.ceil(vocabulary / chunk);
    this.#adjust = bound(
      logitAdjustSpec({ vocabulary, lanes }),
      { 0: logits, 1: history, 2: metadata },
    );
    this.#choose = [
      bound(
        sampleChunksSpec({ vocabulary, chunk, lanes }),
        { 0: logits, 1: chunks, 2: metadata },
        count,
      ),
      bound(
        samplePickSpec({ vocabulary, chunks: count, lanes }),
        { 0: logits, 1: chunks, 2: metadata, 3: last, 4: history, 5: sampled },
      ),
    ];
  }

  /**
   * Uploads the model and prepares its steps.
   *
   * @throws {UnsupportedError} if the GPU has no kernel for one of its tensors.
   * @throws {DeviceError} "out-of-memory" if it does not fit.
   */
  static async load(
    gpu: Gpu,
    file: ModelFile,
    config: ModelConfig,
    options: GpuRunnerOptions,
  ): Promise<GpuRunner> {
    const tuning = tuningFor(gpu.driver);
    const { contextLength, maxSequences = 8, kv = "f16" } = options;
    const tableBlocks = Math.ceil(contextLength / BLOCK_TOKENS);
    const blocks = options.blocks ?? tableBlocks;
    const stepLimits: StepLimits = {
      tokens: tuning.batchTokens,
      sequences: maxSequences,
      logitRows: Math.max(MOST_LOGIT_ROWS, maxSequences),
      tableBlocks,
    };
    const stepBytes = Math.ceil(stepWords(stepLimits) * 4 / 256) * 256;
    const pipelines = new Pipelines(gpu, stepBytes);
    const { heads, kvHeads, headDim } = config;
    const scratch = await withMemoryCheck(gpu, "the buffers of a step", () =>
      createScratch(gpu, {
        ...config,
        tokens: tuning.batchTokens,
        logitRows: stepLimits.logitRows,
        sequences: maxSequences,
        steps: MAX_STEPS,
        stepBytes,
        qkvDim: (heads + 2 * kvHeads) * headDim,
        queryDim: heads * headDim,
        sampleChunks: Math.ceil(config.vocabSize / tuning.sampleChunk),
      }));
    const transformer = await withMemoryCheck(
      gpu,
      `the weights of ${config.name}`,
      () =>
        loadTransformer(gpu, pipelines, tuning, scratch, file, config, {
          kv,
          blocks,
          contextLength,
          ...(options.progress && { progress: options.progress }),
        }),
    );
    const readback = await Readback.create(gpu);
    return new GpuRunner(
      gpu,
      config,
      pipelines,
      scratch,
      transformer,
      readback,
      contextLength,
      tuning,
      { maxSequences, maxBatchTokens: tuning.batchTokens },
    );
  }

  get limits(): RunnerLimits {
    return { ...this.#limits, blocks: this.transformer.cache.blocks };
  }

  submit(batch: Batch): PendingStep {
    if (this.gpu.failure) throw this.gpu.failure;
    const steps = batch.steps ?? 1;
    this.#check(batch, steps);
    const { scratch } = this;
    // It reads the metadata that is written now.
    this.#launchRecorded();
    this.#writeHistory(batch);
    const recorder = new Recorder(this.gpu, batch.timing);
    let samples = 0;
    for (let step = 0; step < steps; step++) {
      const counts = writeStep(this.#words, batch, step, step * this.limits.maxSequences);
      const offset = step * this.pipelines.stepBytes;
      this.#uploader.write(scratch.metadata, offset, this.#words.subarray(0, counts.words));
      for (const operation of this.transformer.operations) {
        const count = operation.over === "tokens" ? counts.tokens : counts.logits;
        if (count > 0) recorder.dispatch(operation.at(count), offset);
      }
      samples = counts.samples;
      if (samples > 0) {
        if (counts.adjust) recorder.dispatch(this.#adjust(samples), offset);
        for (const choose of this.#choose) recorder.dispatch(choose(samples), offset);
      }
    }
    recorder.endPass();
    const readIds = samples > 0
      ? this.readback.copy(
        recorder.encoder,
        scratch.sampled,
        0,
        ((steps - 1) * this.limits.maxSequences + samples) * 4,
      )
      : undefined;
    const rows = logitRows(batch.sequences);
    const wanted = batch.sequences.map((s) => s.logits);
    const sampling = batch.sequences.map((s) => s.sampling !== undefined);
    const slots = batch.sequences.map((s) => s.slot);
    const readLogits = wanted.some((w) => w !== undefined)
      ? this.readback.copy(
        recorder.encoder,
        scratch.logits,
        0,
        rows.length * this.config.vocabSize * 4,
      )
      : undefined;
    const { launch, times } = recorder.finish(this.readback);
    let launched = false;
    this.#launch = () => {
      launched = true;
      this.#running++;
      launch();
    };
    if (this.#running === 0) this.#launchRecorded();
    return {
      read: async (): Promise<StepOutput> => {
        if (!launched) this.#launchRecorded();
        const ids = readIds && new Uint32Array(await readIds());
        const logits = readLogits && new Float32Array(await readLogits());
        const kernels = await times();
        if (--this.#running === 0) this.#launchRecorded();
        if (this.gpu.failure) throw this.gpu.failure;
        let sampler = 0;
        return {
          tokens: sampling.map((samples) => {
            if (!samples || ids === undefined) return [];
            const row = sampler++;
            return Array.from(
              { length: steps },
              (_, step) => checkedId(ids[step * this.limits.maxSequences + row]!, this.config),
            );
          }),
          logits: wanted.map((want, i) => {
            if (want === undefined || logits === undefined) return [];
            const own = rows.flatMap((row, index) => row.slot === slots[i] ? [index] : []);
            return own.map((row) =>
              logits.subarray(row * this.config.vocabSize, (row + 1) * this.config.vocabSize)
            );
          }),
          ...(kernels.length > 0 && { kernels }),
        };
      },
    };
  }

  copyBlocks(pairs: readonly (readonly [number, number])[]): void {
    this.#launchRecorded();
    this.transformer.cache.copy(pairs);
  }

  growBlocks(blocks: number): number {
    this.#launchRecorded();
    return this.transformer.cache.grow(blocks);
  }

  #launchRecorded(): void {
    this.#launch?.();
    this.#launch = undefined;
  }

  destroy(): void {
    this.readback.destroy();
    this.gpu.device.destroy();
  }

  #check(batch: Batch, steps: number): void {
    checkBatch(batch, { ...this.config, contextLength: this.contextLength }, this.limits);
    const rows = logitRows(batch.sequences).length;
    const mostRows = Math.max(MOST_LOGIT_ROWS, this.limits.maxSequences);
    if (rows > mostRows) {
      throw new RangeError(
        `Cannot run the batch: ${rows} rows of logits; the runner has ${mostRows}`,
      );
    }
    if (steps > MAX_STEPS) {
      throw new RangeError(`Cannot run the batch: ${steps} steps; the runner chains ${MAX_STEPS}`);
    }
  }

  // The repeat penalty looks at the last tokens of a slot; those that the host knows go there now,
  // those that the device samples it adds itself.
  #writeHistory({ sequences }: Batch): void {
    for (const { slot, start, tokens, prior } of sequences) {
      if (tokens === null) continue;
      const known = [...prior ?? [], ...tokens].slice(-REPEAT_WINDOW);
      const first = (start + tokens.length - known.length) % REPEAT_WINDOW;
      const words = new Uint32Array(known);
      const head = Math.min(words.length, REPEAT_WINDOW - first);
      const base = slot * REPEAT_WINDOW;
      this.#uploader.write(this.scratch.history, (base + first) * 4, words.subarray(0, head));
      this.#uploader.write(this.scratch.history, base * 4, words.subarray(head));
    }
  }
}

function checkedId(id: number, config: ModelConfig): number {
  if (id === INVALID) {
    throw new Error(
      `Cannot choose a token: ${config.name} computed logits that are not numbers; its weights may be damaged`,
    );
  }
  return id;
}
