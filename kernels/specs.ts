/** Kernels of a transformer step, each built for given dimensions. */

import attention from "./attention.wgsl" with { type: "text" };
import embed from "./embed.wgsl" with { type: "text" };
import kvF16 from "./kv_f16.wgsl" with { type: "text" };
import kvF32 from "./kv_f32.wgsl" with { type: "text" };
import kvReadF16 from "./kv_read_f16.wgsl" with { type: "text" };
import kvReadF32 from "./kv_read_f32.wgsl" with { type: "text" };
import kvWriteF16 from "./kv_write_f16.wgsl" with { type: "text" };
import kvWriteF32 from "./kv_write_f32.wgsl" with { type: "text" };
import laneSum from "./lane_sum.wgsl" with { type: "text" };
import normAdd from "./norm_add.wgsl" with { type: "text" };
import layout from "./layout.wgsl" with { type: "text" };
import ropeAppend from "./rope_append.wgsl" with { type: "text" };
import rotate from "./rotate.wgsl" with { type: "text" };
import step from "./step.wgsl" with { type: "text" };
import { DEVICE_FORMATS, formatConstants } from "./formats.ts";
import type { KvType } from "./sizes.ts";
import type { KernelSpec } from "./spec.ts";
import type { TensorType } from "./tensor_types.ts";

/** Index in the step's metadata of the count of tokens that a kernel processes. */
const COUNT_OF = { tokens: 0, logits: 1 } as const;

/** A matrix, or a part of one, and how its product is computed and used. */
export interface MatrixUse {
  readonly rows: number;
  /** Weights per row, a multiple of 32. */
  readonly columns: number;
  /** First row of this part, within an embedding matrix or a bias. */
  readonly firstRow?: number;
  /** Floats per token in y. */
  readonly yStride?: number;
  /** Where the rows of this matrix start among them. */
  readonly yOffset?: number;
  /** The tokens to multiply: all of the step (the default), or those whose logits are wanted. */
  readonly over?: "tokens" | "logits";
  /** Whether the product is added to y instead of overwriting it. */
  readonly accumulate?: boolean;
  readonly bias?: boolean;
  /** Epsilon of the RMSNorm that the kernel applies to x; undefined: none. */
  readonly normEpsilon?: number | undefined;
  /**
   * "both": rows of the gate and of the up matrix alternate. "ups": rows are those of the up
   * matrix, and y already contains the gates.
   */
  readonly gate?: "both" | "ups" | undefined;
  /** Activation of the gates; default silu. */
  readonly activation?: "silu" | "gelu" | undefined;
  /** Set for the matrices of experts, `rows` rows each. */
  readonly experts?: {
    /** Slots per token. */
    readonly slots: number;
    /** Whether x has a row for each slot; otherwise for each token. */
    readonly perSlot: boolean;
    /** First expert of this part. */
    readonly first: number;
    /** Number of experts in this part. */
    readonly count: number;
  };
}

/** Returns the uniform `Shape` of layout.wgsl. */
export function matrixShape(use: MatrixUse): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(12);
  const flags = [
    use.accumulate,
    use.bias,
    use.normEpsilon !== undefined,
    use.gate === "both",
    use.gate === "ups",
    use.over === "logits",
    use.experts?.perSlot,
    use.activation === "gelu",
  ];
  words.set([
    use.rows,
    use.columns / 32,
    use.firstRow ?? 0,
    use.yStride ?? 0,
    use.yOffset ?? 0,
    COUNT_OF[use.over ?? "tokens"],
    flags.reduce((bits, flag, i) => bits | (flag ? 1 << i : 0), 0),
    use.firstRow ?? 0,
  ]);
  new Float32Array(words.buffer)[8] = use.normEpsilon ?? 0;
  if (use.experts) words.set([use.experts.slots, use.experts.first, use.experts.count], 9);
  return words;
}

/** Gathers embedding rows and multiplies them by `scale`. */
export function embedSpec(
  s: { type: TensorType; scale: number; tile: number; lanes: number },
): KernelSpec {
  const format = DEVICE_FORMATS[s.type];
  const scales: KernelSpec["bindings"] = format.scaleWords > 0 ? { 1: "read" } : {};
  return {
    name: `embed_${s.type.toLowerCase()}`,
    parts: [
      `const TILE = ${s.tile}u;`,
      formatConstants(format),
      layout,
      ...format.wgsl,
      step,
      embed,
    ],
    overrides: { LANES: s.lanes, SCALE: s.scale },
    bindings: {
      0: "read",
      ...scales,
      4: "write",
      5: "read",
      6: "step",
      7: "uniform",
    },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 0,
  };
}

/** The heads of an attention layer. */
export interface HeadShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Adds the RMSNorm of a branch to the residual stream. Reference: `rmsNorm` of reference.ts. */
export function normAddSpec(s: { dim: number; epsilon: number; lanes: number }): KernelSpec {
  return {
    name: "norm_add",
    parts: [laneSum, normAdd],
    overrides: { DIM: s.dim, EPSILON: s.epsilon, LANES: s.lanes },
    bindings: { 0: "read", 1: "read", 2: "write" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * s.lanes,
  };
}

/** The block table of a sequence that a layer uses. */
export interface KvTable {
  /** Index of the table. */
  readonly group: number;
  /** Number of tables per sequence. */
  readonly groups: number;
}

/** How query and key heads are normalized and rotated: rotate.wgsl. */
export interface Rotation {
  /** Epsilon of the RMSNorm of each query and key head; undefined: none. */
  readonly epsilon?: number | undefined;
  /** Elements of a head that are rotated, from its start. */
  readonly ropeDims: number;
  /** Whether the pairs are (i, i + ropeDims / 2); otherwise (2i, 2i + 1). */
  readonly half: boolean;
  /** Queries at position p are multiplied by 1 + beta · ln(1 + floor(p / context)). */
  readonly temperature?: { readonly beta: number; readonly context: number } | undefined;
}

/** Returns the values of rotate.wgsl's `override` declarations, and the `const` line before it. */
export function rotation(s: Rotation) {
  return {
    constants: `const NORMED = ${s.epsilon !== undefined};`,
    overrides: {
      EPSILON: s.epsilon ?? 0,
      ROPE_DIMS: s.ropeDims,
      HALF: s.half ? 1 : 0,
      BETA: s.temperature?.beta ?? 0,
      ORIGINAL: s.temperature?.context ?? 1,
    },
  };
}

/** Normalizes and rotates queries and keys, and appends keys and values to the paged cache. */
export function ropeAppendSpec(
  s: HeadShape & Rotation & {
    kv: KvType;
    /**
     * Whether the keys of a block are stored in columns of eight elements, for attention_keys.wgsl.
     */
    columns: boolean;
    table: KvTable;
    lanes: number;
  },
): KernelSpec {
  const { constants, overrides } = rotation(s);
  return {
    name: "rope_append",
    parts: [
      constants,
      laneSum,
      step,
      s.kv === "f16" ? kvWriteF16 : kvWriteF32,
      rotate,
      ropeAppend,
    ],
    overrides: {
      HEADS: s.heads,
      KV_HEADS: s.kvHeads,
      HEAD_DIM: s.headDim,
      ...overrides,
      COLUMNS: s.columns ? 1 : 0,
      LANES: s.lanes,
      KV_GROUPS: s.table.groups,
      KV_GROUP: s.table.group,
    },
    bindings: { 0: "read", 1: "write", 2: "write", 3: "write", 5: "step", 8: "read", 9: "read" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: 4 * s.lanes,
  };
}

/**
 * Causal attention over the paged cache. A workgroup serves `queries` heads that share a KV head.
 * With a `window`, a token attends only to that many last positions.
 */
export function attentionSpec(
  s: HeadShape & {
    scale: number;
    window?: number | undefined;
    queries: number;
    kv: KvType;
    table: KvTable;
    lanes: number;
  },
): KernelSpec {
  return {
    name: "attention",
    parts: [
      `const HEAD_DIM = ${s.headDim}u;\nconst QUERIES = ${s.queries}u;`,
      step,
      ...(s.kv === "f16" ? [kvReadF16, kvF16] : [kvReadF32, kvF32]),
      attention,
    ],
    overrides: {
      HEADS: s.heads,
      KV_HEADS: s.kvHeads,
      LANES: s.lanes,
      SCALE: s.scale,
      WINDOW: s.window ?? 0,
      KV_GROUPS: s.table.groups,
      KV_GROUP: s.table.group,
    },
    bindings: { 0: "read", 1: "write", 3: "read", 4: "step", 5: "read" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: s.lanes * (8 + s.headDim * 4),
  };
}
