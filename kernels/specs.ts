/** The kernels of a transformer step, each made for given dimensions. */

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

/** Which count of the step's metadata a kernel runs over: its index there. */
const COUNT_OF = { tokens: 0, logits: 1 } as const;

/** A matrix, or a part of one, and what is done with its product. */
export interface MatrixUse {
  readonly rows: number;
  /** Weights a row, a multiple of 32. */
  readonly columns: number;
  /** First row of this part, within an embedding matrix or a bias. */
  readonly firstRow?: number;
  readonly yStride?: number;
  readonly yOffset?: number;
  /** What it runs over: all tokens of the step, or those whose logits are wanted. */
  readonly over?: "tokens" | "logits";
  /** Added to y instead of overwriting it. */
  readonly accumulate?: boolean;
  readonly bias?: boolean;
  /** x is normalized on the way, with this epsilon. */
  readonly normEpsilon?: number | undefined;
  /** Gates and ups alternate row by row ("both"), or rows are ups whose gates are in y ("ups"). */
  readonly gate?: "both" | "ups" | undefined;
  /** What gates pass; default silu. */
  readonly activation?: "silu" | "gelu" | undefined;
  /** Of experts: the slots of a token, whether x has a row for each, and which ones this part has. */
  readonly experts?: {
    readonly slots: number;
    readonly perSlot: boolean;
    readonly first: number;
    readonly count: number;
  };
}

/** The uniform `Shape` of layout.wgsl. */
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

/** Gathers embedding rows, times `scale`. */
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

/** RMSNorm of a branch, added to the residual stream. Reference: `rmsNorm` of reference.ts. */
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

/** Which of a sequence's tables of blocks a layer uses, and how many there are. */
export interface KvTable {
  readonly group: number;
  readonly groups: number;
}

/** How query and key heads are normalized and rotated: rotate.wgsl. */
export interface Rotation {
  /** RMSNorm of each query and key head with this epsilon. */
  readonly epsilon?: number | undefined;
  readonly ropeDims: number;
  readonly half: boolean;
  /** Queries at position p are multiplied by 1 + beta · ln(1 + floor(p / context)). */
  readonly temperature?: { readonly beta: number; readonly context: number } | undefined;
}

/** The `override` declarations of rotate.wgsl, and the `const` line before it. */
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

/** Rotates queries and keys, normalized before, and appends keys and values to the paged cache. */
export function ropeAppendSpec(
  s: HeadShape & Rotation & {
    kv: KvType;
    /** Keys of a block lie in columns of eight elements, as attention_keys.wgsl reads them. */
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
 * Causal attention over the paged cache, a workgroup for `queries` heads of one KV head; with a
 * `window` over the last positions alone.
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
