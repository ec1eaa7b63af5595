/** The kernels that choose the next token on the device. */

import draw from "./draw.wgsl" with { type: "text" };
import gumbel from "./gumbel.wgsl" with { type: "text" };
import logitAdjust from "./logit_adjust.wgsl" with { type: "text" };
import sampleChunks from "./sample_chunks.wgsl" with { type: "text" };
import sampleKeep from "./sample_keep.wgsl" with { type: "text" };
import samplePick from "./sample_pick.wgsl" with { type: "text" };
import sampler from "./sampler.wgsl" with { type: "text" };
import type { KernelSpec } from "./spec.ts";

/** Adds biases and the repeat penalty to the logits in place. */
export function logitAdjustSpec(s: { vocabulary: number; lanes: number }): KernelSpec {
  return {
    name: "logit_adjust",
    parts: [sampler, logitAdjust],
    overrides: { VOCABULARY: s.vocabulary, LANES: s.lanes },
    bindings: { 0: "write", 1: "read", 2: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}

/** Words of a row's counters (sampler.wgsl). They are zero before and after each step. */
export const SAMPLE_COUNTERS = 513;

/** Bins of the counters' histogram. */
const BINS = 256;

/**
 * Reduces each chunk of a row of logits to its best token, its sum of exponentials and a histogram.
 */
export function sampleChunksSpec(
  s: { vocabulary: number; chunk: number; lanes: number },
): KernelSpec {
  return {
    name: "sample_chunks",
    parts: [sampler, sampleChunks],
    overrides: { VOCABULARY: s.vocabulary, CHUNK: s.chunk, LANES: s.lanes },
    bindings: { 0: "read", 1: "write", 2: "step", 3: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: s.lanes * 16 + BINS * 8,
  };
}

/** Lists, for each row of logits, the token ids that its filters may keep. */
export function sampleKeepSpec(
  s: { vocabulary: number; chunk: number; lanes: number },
): KernelSpec {
  return {
    name: "sample_keep",
    parts: [sampler, gumbel, draw, sampleKeep],
    overrides: {
      VOCABULARY: s.vocabulary,
      CHUNK: s.chunk,
      CHUNKS: Math.ceil(s.vocabulary / s.chunk),
      LANES: s.lanes,
    },
    bindings: { 0: "read", 1: "read", 2: "step", 3: "write", 4: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: s.lanes * 8 + BINS * 8 + 20,
  };
}

/** Chooses a token for each row of logits. Reference: engine/run/sampler.ts. */
export function samplePickSpec(
  s: { vocabulary: number; chunk: number; lanes: number },
): KernelSpec {
  return {
    name: "sample_pick",
    parts: [sampler, gumbel, draw, samplePick],
    overrides: {
      VOCABULARY: s.vocabulary,
      CHUNKS: Math.ceil(s.vocabulary / s.chunk),
      LANES: s.lanes,
    },
    bindings: {
      0: "read",
      1: "read",
      2: "step",
      3: "write",
      4: "read",
      5: "write",
      6: "write",
      7: "write",
    },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 1024 + 24 + s.lanes * 8,
  };
}
