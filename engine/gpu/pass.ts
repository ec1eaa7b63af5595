/** Recording dispatches: one pass a step, or, while profiling, timed passes of one or a few. */

import type { Gpu } from "./device.ts";
import type { Pipeline } from "./pipelines.ts";

/** One dispatch, all but its step's metadata. */
export interface Dispatch {
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
  /** With a 0, there is nothing to do. */
  readonly workgroups: readonly [number, number];
}

/** How long a kernel ran, by the device's own clock. */
export interface KernelTime {
  readonly name: string;
  readonly milliseconds: number;
}

// Queries a set may have by the WebGPU specification.
const MOST_QUERIES = 4096;

/** Records steps into one command buffer. */
export class Recorder {
  readonly encoder: GPUCommandEncoder;
  readonly #names: string[] = [];
  readonly #queries: GPUQuerySet | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #last: Pipeline | undefined;
  // Dispatches that the timed pass still takes.
  #left = 0;

  /**
   * `profile`: how many dispatches are timed together, under the first one's name; 0: none are. It
   * needs the feature "timestamp-query" and holds up to 2,048 times.
   */
  constructor(readonly gpu: Gpu, readonly profile = 0) {
    this.encoder = gpu.device.createCommandEncoder({ label: "step" });
    if (profile > 0) {
      this.#queries = gpu.device.createQuerySet({ type: "timestamp", count: MOST_QUERIES });
    }
  }

  /** Records a dispatch; `step` is the offset of its metadata. */
  dispatch(dispatch: Dispatch, step: number): void {
    const { pipeline, group, workgroups } = dispatch;
    if (workgroups.includes(0)) return;
    if (this.profile > 0 && this.#pass === undefined) {
      this.beginTimed(pipeline.spec.name);
      this.#left = this.profile;
    }
    const pass = this.#pass ??= this.encoder.beginComputePass({ label: "step" });
    if (this.#last !== pipeline) pass.setPipeline(pipeline.pipeline);
    this.#last = pipeline;
    pass.setBindGroup(0, group, usesStep(pipeline) ? [step] : []);
    pass.dispatchWorkgroups(workgroups[0], workgroups[1]);
    if (this.#left > 0 && --this.#left === 0) this.endPass();
  }

  /** Ends the pass, so that copies can be recorded. */
  endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#last = undefined;
    this.#left = 0;
  }

  /** Submits what was recorded. With profiling, the returned function gives the kernels' times. */
  submit(): () => Promise<KernelTime[]> {
    this.endPass();
    const queries = this.#queries;
    if (queries === undefined) {
      this.gpu.device.queue.submit([this.encoder.finish()]);
      return () => Promise.resolve([]);
    }
    const bytes = this.#names.length * 16;
    const [resolved, staging] = [
      GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    ].map((usage) => this.gpu.device.createBuffer({ label: "timestamps", size: bytes, usage }));
    if (resolved === undefined || staging === undefined) throw new Error("unreachable");
    this.encoder.resolveQuerySet(queries, 0, this.#names.length * 2, resolved, 0);
    this.encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    this.gpu.device.queue.submit([this.encoder.finish()]);
    return async () => {
      await staging.mapAsync(GPUMapMode.READ);
      const times = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.destroy();
      resolved.destroy();
      queries.destroy();
      return this.#names.map((name, i) => ({
        name,
        milliseconds: Number((times[i * 2 + 1] ?? 0n) - (times[i * 2] ?? 0n)) / 1e6,
      }));
    };
  }

  /** While profiling, times all dispatches until `endPass` as one. */
  beginTimed(name: string): void {
    const i = this.#names.push(name) - 1;
    if (this.#queries === undefined || i * 2 + 1 >= MOST_QUERIES) {
      throw new RangeError(`Cannot profile more than ${MOST_QUERIES / 2} dispatches at once`);
    }
    this.#pass = this.encoder.beginComputePass({
      label: name,
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: i * 2,
        endOfPassWriteIndex: i * 2 + 1,
      },
    });
  }
}

function usesStep(pipeline: Pipeline): boolean {
  return Object.values(pipeline.spec.bindings).includes("step");
}
