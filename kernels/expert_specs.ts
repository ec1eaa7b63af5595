/**
 * Kernels that route tokens to experts and combine the experts' results. The matrix products of the
 * experts are in matmul_specs.ts.
 */

import chooseExperts from "./choose_experts.wgsl" with { type: "text" };
import combine from "./combine.wgsl" with { type: "text" };
import groupSlots from "./group_slots.wgsl" with { type: "text" };
import route from "./route.wgsl" with { type: "text" };
import topK from "./top_k.wgsl" with { type: "text" };
import topKSigmoid from "./top_k_sigmoid.wgsl" with { type: "text" };
import type { KernelSpec } from "./spec.ts";

/** Chooses each token's experts and their weights. Reference: `topExperts` of reference.ts. */
export function topKSpec(
  s: {
    experts: number;
    slots: number;
    normalized: boolean;
    /** Set if scores are sigmoids of the logits; undefined if they are their softmax. */
    sigmoid?: { scale: number } | undefined;
    lanes: number;
  },
): KernelSpec {
  return {
    name: "top_k",
    parts: [route, chooseExperts, s.sigmoid ? topKSigmoid : topK],
    overrides: {
      EXPERTS: s.experts,
      SLOTS: s.slots,
      NORMALIZED: s.normalized ? 1 : 0,
      LANES: s.lanes,
      ...(s.sigmoid && { SCALE: s.sigmoid.scale }),
    },
    bindings: s.sigmoid ? { 0: "read", 1: "write", 2: "read" } : { 0: "read", 1: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * (s.experts + s.slots),
  };
}

/** Sorts slots by expert and pads the slots of each expert to a multiple of `tokens`. */
export function groupSlotsSpec(
  s: { experts: number; slots: number; tokens: number; lanes: number },
): KernelSpec {
  return {
    name: "group_slots",
    parts: [route, groupSlots],
    overrides: { EXPERTS: s.experts, SLOTS: s.slots, TOKENS: s.tokens, LANES: s.lanes },
    bindings: { 0: "read", 1: "write", 2: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * s.experts,
  };
}

/** Sums the weighted results of each token's experts; with `add`, adds the sum to the output. */
export function combineSpec(
  s: { dim: number; slots: number; add: boolean; lanes: number },
): KernelSpec {
  return {
    name: "combine",
    parts: [route, combine],
    overrides: { DIM: s.dim, SLOTS: s.slots, ADD: s.add ? 1 : 0, LANES: s.lanes },
    bindings: { 0: "read", 1: "read", 2: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}
