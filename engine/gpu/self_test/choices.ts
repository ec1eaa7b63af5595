/**
 * Runs the sampling kernels on the device as the engine launches them. Reference:
 * engine/run/sampler.ts.
 */

import { REPEAT_HISTORY, type SamplingOptions } from "../../run/runner.ts";
import { type SamplingKernels, samplingKernels } from "../sampling.ts";
import type { KernelHarness } from "./kernel_harness.ts";

/** A row of logits and how to choose its token. */
export interface ChoiceCase {
  readonly logits: Float32Array;
  readonly options: SamplingOptions;
  /** The sequence's tokens so far; the new one comes after them. */
  readonly recent: readonly number[];
}

/**
 * The results of the kernels: the ids read back, and those from which the next step would start.
 */
export interface Choices {
  readonly sampled: readonly number[];
  readonly last: readonly number[];
}

/**
 * Returns the ids that the device chooses for up to 16 rows of equal length; 0xffffffff for a row
 * with a NaN.
 */
export async function chooseOnDevice(
  harness: KernelHarness,
  cases: readonly ChoiceCase[],
): Promise<Choices> {
  const vocabulary = cases[0]!.logits.length;
  const { logits, history, last, sampled } = harness.scratch;
  cases.forEach((c, slot) => {
    harness.uploader.write(logits, slot * vocabulary * 4, new Float32Array(c.logits));
    const ring = new Uint32Array(REPEAT_HISTORY);
    c.recent.forEach((id, position) => ring[position % REPEAT_HISTORY] = id);
    harness.uploader.write(history, slot * REPEAT_HISTORY * 4, ring);
  });
  const sequences = cases.map(({ options, recent }, slot) => ({
    slot,
    start: Math.max(0, recent.length - 1),
    tokens: [0],
    blockTables: [Array.from({ length: 16 }, (_, i) => i)],
    sampling: options,
  }));
  const kernels = choiceKernels(harness, vocabulary);
  const results = await harness.run({ sequences }, ({ samples, adjust, draws }) => [
    ...(adjust ? [kernels.logit_adjust(samples)] : []),
    kernels.sample_chunks(samples),
    ...(draws ? [kernels.sample_keep(samples)] : []),
    kernels.sample_pick(samples),
  ], [sampled, last]);
  const [chosen, next] = results.map((bytes) => [...new Uint32Array(bytes, 0, cases.length)]);
  return { sampled: chosen!, last: next! };
}

/** Returns the sampling kernels, as the engine launches them. */
export function choiceKernels(harness: KernelHarness, vocabulary: number): SamplingKernels {
  const { pipelines, tuning, scratch } = harness;
  return samplingKernels(pipelines, { tuning, scratch, vocabulary });
}
