/** Records dispatches: all in one pass, or each in a timed pass of its own while profiling. */

import type { KernelTime, Timing } from "../run/runner.ts";
import { destroyBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Pipeline } from "./pipelines.ts";
import type { Readback } from "./readback.ts";
import { timestampPeriod } from "./timestamp_period.ts";

/** One dispatch, without its step's metadata. */
export interface Dispatch {
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
  /** If one of them is 0, nothing is dispatched. */
  readonly workgroups: readonly [number, number];
}

// Each time needs two queries; WebGPU allows 4,096 queries per set.
const TIMES_PER_SET = 2048;

/** Commands that were recorded but not yet submitted. */
export interface Recorded {
  /** Command buffers, to submit in this order. */
  readonly pieces: GPUCommandBuffer[];
  /** `waits[i]` waits until piece i is done; there is none for the last piece. */
  readonly waits: readonly (() => Promise<unknown>)[];
  /** Returns the times once all pieces are done; empty without timing. */
  readonly times: () => Promise<KernelTime[]>;
}

/** Records a step into one command buffer, or several if it is cut. */
export class Recorder {
  #encoder: GPUCommandEncoder;
  readonly #pieces: GPUCommandBuffer[] = [];
  readonly #waits: (() => Promise<unknown>)[] = [];
  readonly #names: string[] = [];
  readonly #sets: GPUQuerySet[] = [];
  #pass: GPUComputePassEncoder | undefined;
  #last: Pipeline | undefined;

  /** `timing` needs the feature "timestamp-query". */
  constructor(readonly gpu: Gpu, readonly timing?: Timing) {
    this.#encoder = gpu.device.createCommandEncoder({ label: "step" });
  }

  /** The encoder for recording copies; each cut creates a new one. */
  get encoder(): GPUCommandEncoder {
    return this.#encoder;
  }

  /** Records a dispatch; `step` is the byte offset of its step's metadata. */
  dispatch(dispatch: Dispatch, step: number): void {
    const { pipeline, group, workgroups } = dispatch;
    if (workgroups.includes(0)) return;
    const pass = this.#pass ??= this.#begin(pipeline.spec.name);
    if (this.#last !== pipeline) pass.setPipeline(pipeline.compiled());
    this.#last = pipeline;
    pass.setBindGroup(0, group, usesStep(pipeline) ? [step] : []);
    pass.dispatchWorkgroups(workgroups[0], workgroups[1]);
    if (this.timing === "each") this.endPass();
  }

  /** Ends the pass, so that copies can be recorded. */
  endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#last = undefined;
  }

  /** Ends a piece here. A word of the buffer `word` is copied to detect when the piece is done. */
  cut(readback: Readback, word: GPUBuffer): void {
    this.endPass();
    this.#waits.push(readback.copy(this.#encoder, word, 4));
    this.#pieces.push(this.#encoder.finish());
    this.#encoder = this.gpu.device.createCommandEncoder({ label: "step" });
  }

  /** Submits the recorded commands; the returned function gives the times. */
  submit(readback: Readback): () => Promise<KernelTime[]> {
    const { pieces, times } = this.finish(readback);
    this.gpu.device.queue.submit(pieces);
    return times;
  }

  /** Ends recording. */
  finish(readback: Readback): Recorded {
    this.endPass();
    const times = this.#readTimes(readback);
    this.#pieces.push(this.#encoder.finish());
    return { pieces: this.#pieces, waits: this.#waits, times };
  }

  #readTimes(readback: Readback): () => Promise<KernelTime[]> {
    if (this.#names.length === 0) return () => Promise.resolve([]);
    const bytes = this.#names.length * 16;
    this.gpu.memory.readback += bytes;
    const resolved = this.gpu.device.createBuffer({
      label: "timestamps",
      size: bytes,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    for (const [i, queries] of this.#sets.entries()) {
      const times = Math.min(TIMES_PER_SET, this.#names.length - i * TIMES_PER_SET);
      this.encoder.resolveQuerySet(queries, 0, times * 2, resolved, i * TIMES_PER_SET * 16);
    }
    const read = readback.copy(this.encoder, resolved, bytes);
    return async () => {
      const ticks = new BigUint64Array(await read());
      destroyBuffer(this.gpu, resolved, "readback");
      for (const queries of this.#sets) queries.destroy();
      const period = await timestampPeriod(this.gpu, readback);
      return this.#names.map((name, i) => ({
        name,
        milliseconds: Number((ticks[i * 2 + 1] ?? 0n) - (ticks[i * 2] ?? 0n)) * period / 1e6,
      }));
    };
  }

  #begin(name: string): GPUComputePassEncoder {
    if (this.timing === undefined) return this.encoder.beginComputePass({ label: "step" });
    const i = (this.#names.push(name) - 1) % TIMES_PER_SET;
    if (i === 0) {
      const count = TIMES_PER_SET * 2;
      this.#sets.push(this.gpu.device.createQuerySet({ type: "timestamp", count }));
    }
    return this.encoder.beginComputePass({
      label: name,
      timestampWrites: {
        querySet: this.#sets.at(-1)!,
        beginningOfPassWriteIndex: i * 2,
        endOfPassWriteIndex: i * 2 + 1,
      },
    });
  }
}

function usesStep(pipeline: Pipeline): boolean {
  return Object.values(pipeline.spec.bindings).includes("step");
}
