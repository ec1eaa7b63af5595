/**
 * Kernels of gated delta nets and Mamba, and of the gates on the outputs of heads and shared
 * experts.
 */

import convolution from "./convolution.wgsl" with { type: "text" };
import deltaNorm from "./delta_norm.wgsl" with { type: "text" };
import deltaRule from "./delta_rule.wgsl" with { type: "text" };
import gatedGroupNorm from "./gated_group_norm.wgsl" with { type: "text" };
import headGate from "./head_gate.wgsl" with { type: "text" };
import mambaScan from "./mamba_scan.wgsl" with { type: "text" };
import relu2 from "./relu2.wgsl" with { type: "text" };
import sequences from "./sequences.wgsl" with { type: "text" };
import laneSum from "./lane_sum.wgsl" with { type: "text" };
import sharedAdd from "./shared_add.wgsl" with { type: "text" };
import stateRows from "./state_rows.wgsl" with { type: "text" };
import step from "./step.wgsl" with { type: "text" };
import type { KernelSpec } from "./spec.ts";

/**
 * A convolution over the last `taps` tokens, followed by silu. Reference: `convolve` of
 * recurrent_reference.ts.
 */
export function convolutionSpec(
  s: { channels: number; taps: number; bias: boolean; lanes: number },
): KernelSpec {
  return {
    name: "convolution",
    parts: [
      `const TAPS = ${s.taps}u;\nconst PAST = ${s.taps - 1}u;`,
      step,
      sequences,
      convolution,
    ],
    overrides: { CHANNELS: s.channels, LANES: s.lanes, BIAS: s.bias ? 1 : 0 },
    bindings: { 0: "write", 1: "read", 2: "write", 3: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}

/** The heads of a layer with recurrent states. */
export interface StateHeads {
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

/**
 * The most vectors of four columns of a row that a lane keeps, if the row can be split that far.
 */
const MOST_VECTORS = 8;

/** Returns the number of lanes that share a row of a state. */
export function stateParts(keyDim: number, lanes: number): number {
  const vectors = keyDim / 4;
  let parts = 1;
  while (vectors / parts > MOST_VECTORS && vectors % (2 * parts) === 0 && 2 * parts <= lanes) {
    parts *= 2;
  }
  return parts;
}

/** Returns the sources of a kernel whose lanes keep rows of the states in registers. */
function stateSources(
  { keyDim, lanes }: { readonly keyDim: number; readonly lanes: number },
  kernel: string,
): string[] {
  const parts = stateParts(keyDim, lanes);
  const sizes = `const PARTS = ${parts}u;\nconst VECTORS = ${keyDim / 4 / parts}u;`;
  return [sizes, step, sequences, stateRows, kernel];
}

/**
 * Updates and reads the states of a gated delta net. Reference: `deltaRule` of
 * recurrent_reference.ts.
 */
export function deltaRuleSpec(s: StateHeads & { tiled: boolean; lanes: number }): KernelSpec {
  return {
    name: "delta_rule",
    parts: stateSources(s, deltaRule),
    overrides: {
      KEY_HEADS: s.keyHeads,
      VALUE_HEADS: s.valueHeads,
      VALUE_DIM: s.valueDim,
      TILED: s.tiled ? 1 : 0,
      LANES: s.lanes,
    },
    bindings: { 0: "read", 1: "read", 2: "read", 3: "write", 4: "write", 5: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 8 * s.keyDim + 8 * s.lanes,
  };
}

/** Updates and reads the states of Mamba. Reference: `mambaScan` of recurrent_reference.ts. */
export function mambaScanSpec(s: StateHeads & { lanes: number }): KernelSpec {
  return {
    name: "mamba_scan",
    parts: stateSources(s, mambaScan),
    overrides: {
      KEY_HEADS: s.keyHeads,
      VALUE_HEADS: s.valueHeads,
      VALUE_DIM: s.valueDim,
      LANES: s.lanes,
    },
    bindings: { 0: "read", 1: "read", 2: "read", 3: "write", 4: "write", 5: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 8 * s.keyDim + 4 * s.lanes,
  };
}

/** Multiplies the outputs of Mamba's heads by silu of their gates, then normalizes each group. */
export function gatedGroupNormSpec(
  s: { groups: number; groupDim: number; epsilon: number; lanes: number },
): KernelSpec {
  return {
    name: "gated_group_norm",
    parts: [laneSum, gatedGroupNorm],
    overrides: { GROUPS: s.groups, GROUP_DIM: s.groupDim, EPSILON: s.epsilon, LANES: s.lanes },
    bindings: { 0: "write", 1: "read", 2: "read" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * s.lanes,
  };
}

/** max(x, 0)² in place, for feed-forward networks without a gate. */
export function relu2Spec(s: { width: number; lanes: number }): KernelSpec {
  return {
    name: "relu2",
    parts: [relu2],
    overrides: { WIDTH: s.width, LANES: s.lanes },
    bindings: { 0: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}

/** Normalizes the output of each head and multiplies it by silu of its gate. */
export function deltaNormSpec(
  s: { heads: number; headDim: number; epsilon: number; lanes: number },
): KernelSpec {
  return {
    name: "delta_norm",
    parts: [laneSum, deltaNorm],
    overrides: { HEADS: s.heads, HEAD_DIM: s.headDim, EPSILON: s.epsilon, LANES: s.lanes },
    bindings: { 0: "write", 1: "read", 2: "read" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * s.lanes,
  };
}

/** Multiplies the output of attention by the sigmoid of its gates. */
export function headGateSpec(s: { width: number; lanes: number }): KernelSpec {
  return {
    name: "head_gate",
    parts: [headGate],
    overrides: { WIDTH: s.width, LANES: s.lanes },
    bindings: { 0: "write", 1: "read" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}

/** Adds the output of a shared expert, multiplied by the sigmoid of its logit. */
export function sharedAddSpec(s: { width: number; lanes: number }): KernelSpec {
  return {
    name: "shared_add",
    parts: [sharedAdd],
    overrides: { WIDTH: s.width, LANES: s.lanes },
    bindings: { 0: "read", 1: "read", 2: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}
