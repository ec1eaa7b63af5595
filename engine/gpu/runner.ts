/**
 * The ModelRunner of the GPU: writes a step's metadata, launches its dispatches and reads its
 * results.
 */

import type { KvType } from "../../kernels/sizes.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning.ts";
import { DeviceError } from "../errors.ts";
import type { ModelFile } from "../files/model_file.ts";
import { Uploader, withMemoryCheck } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { type Dispatch, Recorder } from "./pass.ts";
import { Pipelines } from "./pipelines.ts";
import { Readback } from "./readback.ts";
import { createScratch, type Scratch, type ScratchSizes } from "./scratch.ts";
import { scratchSizes } from "./scratch_sizes.ts";
import type { ModelConfig } from "../model/config.ts";
import { atContext } from "../model/at_context.ts";
import { weightReads } from "../model/costs.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { type DeviceModel, loadLayers } from "./layers.ts";
import { checkBatch } from "../run/check_batch.ts";
import { type Pause, pausesFor } from "../run/event_loop.ts";
import {
  type Batch,
  BLOCK_TOKENS,
  type BlockCopy,
  type ModelRunner,
  MOST_LOGIT_ROWS,
  MOST_STEPS,
  type PendingStep,
  REPEAT_HISTORY,
  type RunnerDevice,
  type RunnerLimits,
  type StepOutput,
} from "../run/runner.ts";
import { StatePositions } from "../run/state_positions.ts";
import { type SamplingKernels, samplingKernels } from "./sampling.ts";
import {
  logitRows,
  mostAttentionParts,
  type StepLimits,
  stepWords,
  writeStep,
} from "./step_metadata.ts";
import { StepBuffers } from "./step_buffers.ts";
import { StepPace } from "./step_pace.ts";
import { type QueuedStep, StepQueue } from "./step_queue.ts";
import { outputSorter } from "./step_output.ts";

export interface GpuRunnerOptions {
  /** Maximum length of a sequence in tokens. */
  readonly contextLength: number;
  /**
   * Number of KV cache blocks for each group of layers; default enough for one sequence of
   * `contextLength`.
   */
  readonly blocks?: readonly number[];
  readonly maxSequences?: number;
  readonly kv?: KvType;
  /** Default: the tuning for the adapter's class. */
  readonly tuning?: Tuning;
  /** Origin of the tuning, for reports, such as `defaults for AMD`. */
  readonly tuningSource?: string;
  /** Decides into how many pieces a step is cut; default by measured times. */
  readonly pace?: Pick<StepPace, "pieces" | "took">;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
  /**
   * Called between compiling kernels and between uploading pieces; an error that it throws ends the
   * load.
   */
  readonly pause?: Pause;
}

/** Runs one model on one GPU. */
export class GpuRunner implements ModelRunner {
  readonly gpu: Gpu;
  readonly scratch: Scratch;
  readonly readback: Readback;
  readonly device: RunnerDevice;
  readonly tuning: Tuning;
  readonly #model: DeviceModel;
  readonly #sizes: ScratchSizes;
  readonly #limits: Omit<RunnerLimits, "blocks">;
  readonly #sampling: SamplingKernels;
  readonly #states: StatePositions;
  readonly #uploader: Uploader;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #queue: StepQueue;
  readonly #pace: Pick<StepPace, "pieces" | "took">;
  #submits = 0;

  private constructor(
    readonly config: ModelConfig,
    readonly pipelines: Pipelines,
    { scratch, sizes, model, readback, tuning, tuningSource, limits, pace }: {
      readonly scratch: Scratch;
      readonly sizes: ScratchSizes;
      readonly model: DeviceModel;
      readonly readback: Readback;
      readonly tuning: Tuning;
      readonly tuningSource: string | undefined;
      readonly limits: Omit<RunnerLimits, "blocks">;
      readonly pace: Pick<StepPace, "pieces" | "took">;
    },
  ) {
    const { gpu } = pipelines;
    this.gpu = gpu;
    this.scratch = scratch;
    this.#sizes = sizes;
    this.readback = readback;
    this.#model = model;
    this.tuning = tuning;
    this.device = {
      kind: "gpu",
      description: gpu.description,
      driver: gpu.driver,
      ...(tuningSource !== undefined && { detail: tuningSource }),
    };
    this.#limits = limits;
    this.#pace = pace;
    this.#queue = new StepQueue(gpu);
    this.#states = new StatePositions(config);
    this.#uploader = new Uploader(gpu);
    this.#words = new Uint32Array(pipelines.stepBytes / 4);
    this.#sampling = samplingKernels(pipelines, { tuning, scratch, vocabulary: config.vocabSize });
  }

  /**
   * Uploads the model and compiles its kernels.
   *
   * @throws {UnsupportedError} if the GPU has no kernel for one of its tensors.
   * @throws {DeviceError} "out-of-memory" if it does not fit.
   */
  static async load(
    gpu: Gpu,
    { file, config: whole }: { readonly file: ModelFile; readonly config: ModelConfig },
    options: GpuRunnerOptions,
  ): Promise<GpuRunner> {
    const { tuningSource, contextLength, maxSequences = 8, kv = "f16", progress } = options;
    const { pause = pausesFor() } = options;
    const tuning = options.tuning ?? tuningFor(gpu.driver);
    const config = atContext(whole, contextLength);
    const groups = kvGroups(config);
    const contextBlocks = Math.ceil(contextLength / BLOCK_TOKENS);
    const blocks = options.blocks ?? groups.map(() => contextBlocks);
    const stepLimits: StepLimits = {
      tokens: tuning.batchTokens,
      sequences: maxSequences,
      logitRows: Math.max(MOST_LOGIT_ROWS, maxSequences),
      tableBlocks: groups.length * contextBlocks,
    };
    const stepBytes = Math.ceil(stepWords(stepLimits) * 4 / 256) * 256;
    const pipelines = new Pipelines(gpu, stepBytes);
    const sizes = {
      ...scratchSizes(config),
      tokens: tuning.batchTokens,
      logitRows: stepLimits.logitRows,
      sequences: maxSequences,
      steps: MOST_STEPS,
      stepBytes,
      attentionParts: mostAttentionParts(tuning),
      sampleChunks: Math.ceil(config.vocabSize / tuning.sampleChunk),
    };
    const scratch = await withMemoryCheck(
      gpu,
      "the buffers of a step",
      () => createScratch(gpu, sizes),
    );
    const layers = { tuning, scratch, kv, blocks, maxSequences, progress, pause };
    const model = await loadLayers(pipelines, { file, config }, layers);
    const readback = await Readback.create(gpu);
    const limits = { maxSequences, maxBatchTokens: tuning.batchTokens };
    const runner = new GpuRunner(config, pipelines, {
      ...{ scratch, sizes, model, readback, tuning, tuningSource, limits },
      pace: options.pace ?? new StepPace(gpu.driver, productsOf(config, file)),
    });
    await pipelines.compileAll(pause);
    return runner;
  }

  get limits(): RunnerLimits {
    return { ...this.#limits, blocks: this.#model.cache.blocks };
  }

  submit(batch: Batch): PendingStep {
    if (this.gpu.failure) throw this.gpu.failure;
    const steps = batch.steps ?? 1;
    this.#check(batch);
    this.#states.enter(batch);
    const { maxSequences } = this.#limits;
    const sort = outputSorter(batch, this.config, maxSequences);
    // This step's metadata overwrites that of the step before the last, which must be launched
    // first.
    this.#queue.launchAll(1);
    this.#writeHistory(batch);
    if (batch.anew?.weights) {
      this.#queue.launchAll();
      this.#model.upload();
    }
    const own = batch.anew?.buffers
      ? new StepBuffers(this.pipelines, this.scratch, this.#sizes)
      : undefined;
    const { scratch } = own ?? this;
    const recorder = new Recorder(this.gpu, batch.timing);
    const record = (dispatch: Dispatch, offset: number) =>
      recorder.dispatch(own?.bind(dispatch) ?? dispatch, offset);
    const region = this.#submits++ % 2 * MOST_STEPS;
    const entering = batch.sequences.reduce((sum, { tokens }) => sum + (tokens?.length ?? 1), 0);
    const kind = entering > batch.sequences.length ? "prompt" : "decode";
    const { operations } = this.#model;
    const pieces = steps > 1 || batch.timing ? 1 : this.#pace.pieces(kind, entering);
    let samples = 0;
    let readLogits: (() => Promise<ArrayBuffer>) | undefined;
    for (let step = 0; step < steps; step++) {
      const counts = writeStep(this.#words, batch, {
        step,
        sampledOffset: step * maxSequences,
        mostParts: mostAttentionParts(this.tuning),
      });
      const offset = (region + step) * this.pipelines.stepBytes;
      this.#uploader.write(scratch.metadata, offset, this.#words.subarray(0, counts.words));
      for (const [i, operation] of operations.entries()) {
        const pieceOf = (i: number) => Math.floor(i * pieces / operations.length);
        if (i > 0 && pieceOf(i) > pieceOf(i - 1)) recorder.cut(this.readback, scratch.sampled);
        const count = counts[operation.over];
        if (count > 0) record(operation.at(count, counts.attentionParts), offset);
      }
      // Copied before biases and penalties change them. Chained steps return no logits.
      if (batch.sequences.some(({ logits }) => logits !== undefined)) {
        recorder.endPass();
        const bytes = counts.logits * this.config.vocabSize * 4;
        readLogits = this.readback.copy(recorder.encoder, scratch.logits, bytes);
      }
      samples = counts.samples;
      if (samples > 0) {
        const { logit_adjust, sample_chunks, sample_keep, sample_pick } = this.#sampling;
        if (counts.adjust) record(logit_adjust(samples), offset);
        record(sample_chunks(samples), offset);
        if (counts.draws) record(sample_keep(samples), offset);
        record(sample_pick(samples), offset);
      }
    }
    recorder.endPass();
    const readIds = samples > 0
      ? this.readback.copy(
        recorder.encoder,
        scratch.sampled,
        ((steps - 1) * maxSequences + samples) * 4,
      )
      : undefined;
    const { timing, sequences: { length: sequences } } = batch;
    const queued = this.#queue.add(recorder.finish(this.readback));
    return {
      read: async (): Promise<StepOutput> => {
        const output = await this.#read(queued, async () => {
          if (!await this.#queue.run(queued)) return undefined;
          const [ids, logits] = [
            readIds && new Uint32Array(await readIds()),
            readLogits && new Float32Array(await readLogits()),
          ];
          const span = { ...queued.span!, to: performance.now() };
          if (!timing) this.#pace.took(kind, entering * steps, span.to - span.launched);
          const kernels = await queued.recorded.times();
          return { ids, logits, span, kernels };
        });
        own?.destroy();
        if (output === undefined) return nothing(sequences);
        const { ids, logits, span, kernels } = output;
        return { ...sort(ids, logits), span, ...(kernels.length > 0 && { kernels }) };
      },
    };
  }

  /**
   * Reads a step's results and launches the next step.
   *
   * @throws {DeviceError} "lost", or the first error that the device reported.
   */
  async #read<T>(step: QueuedStep, read: () => Promise<T>): Promise<T> {
    try {
      const result = await read();
      if (this.gpu.failure) throw this.gpu.failure;
      return result;
    } catch (cause) {
      // The device reports the cause in a later task of the event loop.
      await new Promise((resolve) => setTimeout(resolve));
      throw this.gpu.failure ??= new DeviceError(
        "lost",
        `Cannot read from ${this.gpu.description}: the device was lost (${cause})`,
        { cause },
      );
    } finally {
      this.#queue.remove(step);
    }
  }

  /**
   * Returns the dispatches of a step. "prompt": `count` tokens of one prompt enter. "decode" and
   * "draw": `count` sequences decode one token each, greedily or by drawing.
   *
   * @param parts workgroups that share a token's positions while decoding
   */
  launches(
    count: number,
    kind: "prompt" | "decode" | "draw",
    parts = 1,
  ): Pick<Dispatch, "pipeline" | "workgroups">[] {
    const rows = kind === "prompt" ? 1 : count;
    const counts = { tokens: count, sequences: rows, logits: rows };
    const { logit_adjust, sample_chunks, sample_keep, sample_pick } = this.#sampling;
    return [
      ...this.#model.operations.map(({ over, at }) =>
        at(counts[over], kind === "prompt" ? 0 : parts)
      ),
      ...(kind === "draw" ? [logit_adjust(rows)] : []),
      sample_chunks(rows),
      ...(kind === "draw" ? [sample_keep(rows)] : []),
      sample_pick(rows),
    ].filter(({ workgroups }) => !workgroups.includes(0));
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    this.#queue.launchAll();
    this.#model.cache.copy(copies);
  }

  async growBlocks(group: number, blocks: number): Promise<number> {
    this.#queue.launchAll();
    return await this.#model.cache.grow(group, blocks);
  }

  async compileAll(pause: Pause = pausesFor()): Promise<void> {
    for (let tokens = 1; tokens <= this.tuning.batchTokens; tokens++) {
      for (const operation of this.#model.operations) operation.at(tokens, 1);
    }
    await this.pipelines.compileAll(pause);
  }

  abandon(): void {
    this.#queue.abandon();
  }

  destroy(): void {
    this.readback.destroy();
    this.gpu.device.destroy();
  }

  #check(batch: Batch): void {
    checkBatch(batch, this.config, this.limits);
    const rows = logitRows(batch.sequences).length;
    const mostRows = Math.max(MOST_LOGIT_ROWS, this.limits.maxSequences);
    if (rows > mostRows) {
      throw new RangeError(
        `Cannot run the batch: ${rows} rows of logits; the runner's limit is ${mostRows}`,
      );
    }
  }

  // The repeat penalty reads the last tokens of a slot. The host writes the tokens that it knows;
  // the device adds those that it samples.
  #writeHistory({ sequences }: Batch): void {
    for (const { slot, start, tokens, prior } of sequences) {
      if (tokens === null) continue;
      const known = [...prior ?? [], ...tokens].slice(-REPEAT_HISTORY);
      const first = (start + tokens.length - known.length) % REPEAT_HISTORY;
      const words = new Uint32Array(known);
      const head = Math.min(words.length, REPEAT_HISTORY - first);
      const base = slot * REPEAT_HISTORY;
      this.#uploader.write(this.scratch.history, (base + first) * 4, words.subarray(0, head));
      this.#uploader.write(this.scratch.history, base * 4, words.subarray(head));
    }
  }
}

/** Returns the output of an abandoned step. */
function nothing(sequences: number): StepOutput {
  const none = Array.from({ length: sequences }, () => []);
  return { tokens: none, logits: none };
}

/** Returns the number of weights that a token is multiplied with. */
function productsOf(config: ModelConfig, file: ModelFile): number {
  return weightReads(config, file.tensors).reduce(
    (sum, { tensor, share }) => sum + share * tensor.shape.reduce((a, b) => a * b, 1),
    0,
  );
}
