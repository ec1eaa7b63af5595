/** Binds the kernels that choose tokens to the buffers of a step. */

import {
  logitAdjustSpec,
  sampleChunksSpec,
  sampleKeepSpec,
  samplePickSpec,
} from "../../kernels/sampling_specs.ts";
import type { KernelSpec } from "../../kernels/spec.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Scratch } from "./scratch.ts";

/** Functions that return the dispatch of each kernel for `rows` rows of logits, in launch order. */
export type SamplingKernels = Readonly<
  Record<
    "logit_adjust" | "sample_chunks" | "sample_keep" | "sample_pick",
    (rows: number) => Dispatch
  >
>;

/** Requests the kernels and binds them. Reference: engine/run/sampler.ts. */
export function samplingKernels(
  pipelines: Pipelines,
  { tuning, scratch, vocabulary }: {
    readonly tuning: Pick<Tuning, "sampleLanes" | "sampleChunk">;
    readonly scratch: Scratch;
    readonly vocabulary: number;
  },
): SamplingKernels {
  const { sampleLanes: lanes, sampleChunk: chunk } = tuning;
  const { logits, chunks, counters, kept, last, history, sampled, metadata } = scratch;
  const sizes = { vocabulary, chunk, lanes };
  const count = Math.ceil(vocabulary / chunk);
  const bound = (
    spec: KernelSpec,
    buffers: Readonly<Record<number, GPUBuffer>>,
    workgroups: (rows: number) => readonly [number, number],
  ) => {
    const pipeline = pipelines.get(spec);
    const group = pipelines.bind(pipeline, buffers);
    return (rows: number): Dispatch => ({ pipeline, group, workgroups: workgroups(rows) });
  };
  return {
    logit_adjust: bound(
      logitAdjustSpec({ vocabulary, lanes }),
      { 0: logits, 1: history, 2: metadata },
      (rows) => [rows, 1],
    ),
    sample_chunks: bound(
      sampleChunksSpec(sizes),
      { 0: logits, 1: chunks, 2: metadata, 3: counters },
      (rows) => [count, rows],
    ),
    sample_keep: bound(
      sampleKeepSpec(sizes),
      { 0: logits, 1: chunks, 2: metadata, 3: counters, 4: kept },
      (rows) => [count, rows],
    ),
    sample_pick: bound(
      samplePickSpec(sizes),
      {
        0: logits,
        1: chunks,
        2: metadata,
        3: counters,
        4: kept,
        5: last,
        6: history,
        7: sampled,
      },
      (rows) => [rows, 1],
    ),
  };
}
