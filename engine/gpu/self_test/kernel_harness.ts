/** Runs single kernels on generated data, as the engine launches them, and reads their results. */

import type { Tuning } from "../../../kernels/tuning.ts";
import type { ModelFile, TensorInfo } from "../../files/model_file.ts";
import { bufferOf, createBuffer, destroyBuffer, Uploader } from "../buffers.ts";
import { type BufferPurpose, type Gpu, oneLine } from "../device.ts";
import { type Dispatch, Recorder } from "../pass.ts";
import { Pipelines } from "../pipelines.ts";
import { Readback } from "../readback.ts";
import { createScratch, type Scratch } from "../scratch.ts";
import type { OperationContext } from "../operation.ts";
import { OperationBuilder } from "../operations.ts";
import type { DeviceMatrix } from "../matrix.ts";
import { type Pause, pausesFor } from "../../run/event_loop.ts";
import type { Batch } from "../../run/runner.ts";
import { mostAttentionParts, type StepCounts, stepWords, writeStep } from "../step_metadata.ts";

// Enough for the largest case in this directory.
const STEP_LIMITS = { tokens: 64, sequences: 16, logitRows: 64, tableBlocks: 192 };
const STEP_BYTES = Math.ceil(stepWords(STEP_LIMITS) * 4 / 256) * 256;
const SIZES = {
  dim: 1024,
  qkvDim: 2048,
  queryDim: 1024,
  heads: 8,
  gatesDim: 1024,
  stepsDim: 64,
  // The maximum of all tuning variants of attention.
  attentionParts: 256,
  gatedDim: 1024,
  branch: true,
  vocabSize: 8192,
  sampleChunks: 64,
};

/** A tensor in host memory. */
export interface MemoryTensor {
  readonly info: TensorInfo;
  readonly bytes: Uint8Array;
}

/** One device, its kernels, and the buffers between them. */
export class KernelHarness {
  readonly #made: [GPUBuffer, BufferPurpose][] = [];
  readonly #words = new Uint32Array(STEP_BYTES / 4);
  readonly uploader: Uploader;

  readonly pipelines: Pipelines;
  readonly readback: Readback;
  readonly scratch: Scratch;
  /** Called before each case; an error that it throws ends the work. */
  readonly pause: Pause;

  private constructor(
    readonly gpu: Gpu,
    readonly tuning: Tuning,
    shared: Pick<KernelHarness, "pipelines" | "readback" | "scratch" | "pause">,
  ) {
    this.pipelines = shared.pipelines;
    this.readback = shared.readback;
    this.scratch = shared.scratch;
    this.pause = shared.pause;
    this.uploader = new Uploader(gpu);
  }

  /** `sizes`: scratch buffer sizes that must be larger than the self-test needs. */
  static async create(
    gpu: Gpu,
    tuning: Tuning,
    { sizes, pause = pausesFor() }: {
      readonly sizes?: Partial<typeof SIZES>;
      readonly pause?: Pause;
    } = {},
  ): Promise<KernelHarness> {
    const scratch = createScratch(gpu, {
      ...SIZES,
      ...sizes,
      ...STEP_LIMITS,
      steps: 1,
      stepBytes: STEP_BYTES,
    });
    const readback = await Readback.create(gpu);
    const pipelines = new Pipelines(gpu, STEP_BYTES);
    return new KernelHarness(gpu, tuning, { pipelines, readback, scratch, pause });
  }

  /** Returns a harness with the same device and kernels, but another tuning or other limits. */
  with(tuning: Tuning, limits: GPUSupportedLimits = this.gpu.limits): KernelHarness {
    return new KernelHarness({ ...this.gpu, limits }, tuning, this);
  }

  /**
   * Returns a builder of the engine's operations, for a residual stream of `dim` floats per token.
   */
  build(
    { dim = 32, rmsEpsilon = 1e-5, kv = "f32" }: Partial<OperationContext> = {},
  ): OperationBuilder {
    const { pipelines, tuning, scratch } = this;
    return new OperationBuilder({
      ...{ pipelines, tuning, scratch, dim, rmsEpsilon, kv },
      eager: false,
    });
  }

  /**
   * Allocates a buffer with this data, or a zeroed one of so many bytes; the next `run` or
   * `release` frees it.
   */
  buffer(data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | number): GPUBuffer {
    const buffer = typeof data === "number"
      ? createBuffer(this.gpu, { label: "case", bytes: data, purpose: "scratch" })
      : bufferOf(this.gpu, data, { label: "case", purpose: "scratch" });
    this.#made.push([buffer, "scratch"]);
    return buffer;
  }

  /** Makes the next `run` or `release` free a matrix. */
  free(matrix: DeviceMatrix): void {
    for (const { quants, scales } of matrix.parts) {
      this.#made.push([quants, "weights"]);
      if (scales) this.#made.push([scales, "weights"]);
    }
  }

  /**
   * Runs the dispatches that `launch` returns for the step of `batch`, and returns the contents of
   * `reads`. Then it frees the buffers of the case.
   *
   * @throws {Error} if the device refuses any of the commands.
   */
  async run(
    batch: Batch,
    launch: (counts: StepCounts) => readonly Dispatch[],
    reads: readonly GPUBuffer[],
  ): Promise<ArrayBuffer[]> {
    await this.pause();
    const { device } = this.gpu;
    device.pushErrorScope("validation");
    const recorder = this.#record(batch, launch);
    const results = reads.map((buffer) =>
      this.readback.copy(recorder.encoder, buffer, buffer.size)
    );
    recorder.submit(this.readback);
    const error = await device.popErrorScope();
    if (error) {
      // A read returns its staging buffer to the pool, even if the device copied nothing into it.
      await Promise.allSettled(results.map((read) => read()));
      this.release();
      throw new Error(`Cannot run a kernel: ${oneLine(error)}`);
    }
    const contents: ArrayBuffer[] = [];
    for (const read of results) contents.push(await read());
    this.release();
    return contents;
  }

  /** Frees the buffers of the case. */
  release(): void {
    for (const [buffer, purpose] of this.#made.splice(0)) destroyBuffer(this.gpu, buffer, purpose);
  }

  /**
   * Returns how many ms all dispatches that `launch` returns take together, run one after the other
   * in one pass. It uses the device's timestamps or, without them, the host's clock until the
   * result is read.
   */
  async time(
    batch: Batch,
    launch: (counts: StepCounts) => readonly Dispatch[],
  ): Promise<number> {
    await this.pause();
    const timed = this.gpu.features.has("timestamp-query");
    const recorder = this.#record(batch, launch, timed);
    const finish = this.readback.copy(recorder.encoder, this.scratch.sampled, 4);
    const start = performance.now();
    const times = recorder.submit(this.readback);
    await finish();
    const elapsed = performance.now() - start;
    const [own] = await times();
    return own?.milliseconds ?? elapsed;
  }

  #record(
    batch: Batch,
    launch: (counts: StepCounts) => readonly Dispatch[],
    timed = false,
  ): Recorder {
    const counts = writeStep(this.#words, batch, {
      step: 0,
      sampledOffset: 0,
      mostParts: mostAttentionParts(this.tuning),
    });
    this.uploader.write(this.scratch.metadata, 0, this.#words.subarray(0, counts.words));
    const recorder = new Recorder(this.gpu, timed ? "together" : undefined);
    for (const dispatch of launch(counts)) recorder.dispatch(dispatch, 0);
    recorder.endPass();
    return recorder;
  }
}

/** Returns a model file with tensors in memory. */
export function memoryFile(tensors: readonly MemoryTensor[]): ModelFile {
  const bytesOf = new Map(tensors.map(({ info, bytes }) => [info.name, bytes]));
  return {
    format: "gguf",
    paths: ["memory"],
    byteLength: 0,
    metadata: new Map(),
    tensors: new Map(tensors.map(({ info }) => [info.name, info])),
    read: (tensor, offset, into) =>
      into.set(bytesOf.get(tensor.name)!.subarray(offset, offset + into.length)),
    close: () => {},
  };
}

/** Returns a batch with one sequence of `tokens` tokens, from position 0 on. */
export function plainBatch(tokens: number, more: Partial<Batch["sequences"][0]> = {}): Batch {
  return {
    sequences: [{
      slot: 0,
      start: 0,
      tokens: Array.from({ length: tokens }, (_, i) => i),
      blockTables: [Array.from({ length: STEP_LIMITS.tableBlocks }, (_, i) => i)],
      ...more,
    }],
  };
}
