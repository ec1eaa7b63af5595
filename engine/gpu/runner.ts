/** The ModelRunner of the GPU: a step's metadata, its dispatches, and reading back what it made. */

import type { KvType } from "../../kernels/specs.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning.ts";
import { DeviceError } from "../errors.ts";
import type { ModelFile } from "../files/model_file.ts";
import { Uploader, withMemoryCheck } from "./buffers.ts";
import type { DriverKind, Gpu } from "./device.ts";
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
import {
  type Batch,
  BLOCK_TOKENS,
  type BlockCopy,
  type ModelRunner,
  MOST_LOGIT_ROWS,
  MOST_STEPS,
  type PendingStep,
  REPEAT_WINDOW,
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
import { outputSorter } from "./step_output.ts";

export interface GpuRunnerOptions {
  /** Longest sequence in tokens. */
  readonly contextLength: number;
  /** Blocks of the KV cache, by group of layers; default those of one sequence of `contextLength`. */
  readonly blocks?: readonly number[];
  readonly maxSequences?: number;
  readonly kv?: KvType;
  /** Default: what suits the adapter's class. */
  readonly tuning?: Tuning;
  /** Where the tuning is from, for reports: `defaults for AMD`. */
  readonly tuningSource?: string;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
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
  /**
   * Launches the step that is recorded and not yet with the device. Deno's mapAsync waits for all that
   * was launched, so a step is held back until the one before it is read: it is prepared while that
   * one runs, and does not delay its result.
   */
  #launch: (() => void) | undefined;
  /** Steps that were launched and not yet read. */
  #running = 0;

  private constructor(
    readonly config: ModelConfig,
    readonly pipelines: Pipelines,
    { scratch, sizes, model, readback, tuning, tuningSource, limits }: {
      readonly scratch: Scratch;
      readonly sizes: ScratchSizes;
      readonly model: DeviceModel;
      readonly readback: Readback;
      readonly tuning: Tuning;
      readonly tuningSource: string | undefined;
      readonly limits: Omit<RunnerLimits, "blocks">;
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
    this.#states = new StatePositions(config);
    this.#uploader = new Uploader(gpu);
    this.#words = new Uint32Array(pipelines.stepBytes / 4);
    this.#sampling = samplingKernels(pipelines, { tuning, scratch, vocabulary: config.vocabSize });
  }

  /**
   * Uploads the model and prepares its steps.
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
    const chosen = options.tuning ?? tuningFor(gpu.driver);
    const tuning = {
      ...chosen,
      batchTokens: stepTokens(gpu.driver, chosen, { file, config: whole }),
    };
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
    const layers = { tuning, scratch, kv, blocks, maxSequences, progress };
    const model = await withMemoryCheck(
      gpu,
      `the weights of ${config.name}`,
      () => loadLayers(pipelines, { file, config }, layers),
    );
    const readback = await Readback.create(gpu);
    const limits = { maxSequences, maxBatchTokens: tuning.batchTokens };
    return new GpuRunner(config, pipelines, {
      ...{ scratch, sizes, model, readback, tuning, tuningSource, limits },
    });
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
    // It reads the metadata that is written now.
    this.#launchRecorded();
    this.#writeHistory(batch);
    if (batch.anew?.weights) this.#model.upload();
    const own = batch.anew?.buffers
      ? new StepBuffers(this.pipelines, this.scratch, this.#sizes)
      : undefined;
    const { scratch } = own ?? this;
    const recorder = new Recorder(this.gpu, batch.timing);
    const record = (dispatch: Dispatch, offset: number) =>
      recorder.dispatch(own?.bind(dispatch) ?? dispatch, offset);
    let samples = 0;
    let readLogits: (() => Promise<ArrayBuffer>) | undefined;
    for (let step = 0; step < steps; step++) {
      const counts = writeStep(this.#words, batch, {
        step,
        sampledOffset: step * maxSequences,
        mostParts: mostAttentionParts(this.tuning),
      });
      const offset = step * this.pipelines.stepBytes;
      this.#uploader.write(scratch.metadata, offset, this.#words.subarray(0, counts.words));
      for (const operation of this.#model.operations) {
        const count = counts[operation.over];
        if (count > 0) record(operation.at(count, counts.attentionParts), offset);
      }
      // Before biases and penalties change them. A chain of steps returns none.
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
    const { launch, times } = recorder.finish(this.readback);
    let launched: { readonly from: number; readonly launched: number } | undefined;
    this.#launch = () => {
      const from = performance.now();
      this.#running++;
      launch();
      launched = { from, launched: performance.now() };
    };
    if (this.#running === 0) this.#launchRecorded();
    return {
      read: async (): Promise<StepOutput> => {
        if (!launched) this.#launchRecorded();
        const [ids, logits, to, kernels] = await this.#read(async () => [
          readIds && new Uint32Array(await readIds()),
          readLogits && new Float32Array(await readLogits()),
          performance.now(),
          await times(),
        ]);
        own?.destroy();
        const span = { ...launched!, to };
        return { ...sort(ids, logits), span, ...(kernels.length > 0 && { kernels }) };
      },
    };
  }

  /**
   * Reads what a launched step left, and launches the next.
   *
   * @throws {DeviceError} "lost", or whatever the device reported first.
   */
  async #read<T>(read: () => Promise<T>): Promise<T> {
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
      if (--this.#running === 0) this.#launchRecorded();
    }
  }

  /**
   * What a step launches in which `count` tokens of a prompt enter, or which decodes `count` sequences
   * greedily, or draws their tokens.
   */
  launches(
    count: number,
    kind: "prompt" | "decode" | "draw",
  ): Pick<Dispatch, "pipeline" | "workgroups">[] {
    const rows = kind === "prompt" ? 1 : count;
    const counts = { tokens: count, sequences: rows, logits: rows };
    const { logit_adjust, sample_chunks, sample_keep, sample_pick } = this.#sampling;
    return [
      ...this.#model.operations.map(({ over, at }) => at(counts[over], kind === "prompt" ? 0 : 1)),
      ...(kind === "draw" ? [logit_adjust(rows)] : []),
      sample_chunks(rows),
      ...(kind === "draw" ? [sample_keep(rows)] : []),
      sample_pick(rows),
    ].filter(({ workgroups }) => !workgroups.includes(0));
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    this.#launchRecorded();
    this.#model.cache.copy(copies);
  }

  async growBlocks(group: number, blocks: number): Promise<number> {
    this.#launchRecorded();
    return await this.#model.cache.grow(group, blocks);
  }

  #launchRecorded(): void {
    this.#launch?.();
    this.#launch = undefined;
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
        `Cannot run the batch: ${rows} rows of logits; the runner has ${mostRows}`,
      );
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

/** Products a second that llvmpipe does on two ordinary cores, and how long a step of it may take. */
const SOFTWARE_PRODUCTS = 8e9;
const STEP_SECONDS = 0.4;

/** Tokens that enter in one step: with a software driver so few that signals are heard soon. */
function stepTokens(
  driver: DriverKind,
  { batchTokens }: Tuning,
  { file, config }: { readonly file: ModelFile; readonly config: ModelConfig },
): number {
  if (driver === "hardware") return batchTokens;
  const products = weightReads(config, file.tensors).reduce(
    (sum, { tensor, share }) => sum + share * tensor.shape.reduce((a, b) => a * b, 1),
    0,
  );
  const tokens = STEP_SECONDS * SOFTWARE_PRODUCTS / products;
  return Math.min(batchTokens, Math.max(8, Math.round(tokens / 8) * 8));
}
