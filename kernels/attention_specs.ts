/** Attention for GPUs: distributes positions over workgroups and adds their partial results. */

import attentionKeys from "./attention_keys.wgsl" with { type: "text" };
import attentionMerge from "./attention_merge.wgsl" with { type: "text" };
import attentionQueries from "./attention_queries.wgsl" with { type: "text" };
import attentionRotates from "./attention_rotates.wgsl" with { type: "text" };
import kvAppendF16 from "./kv_append_f16.wgsl" with { type: "text" };
import kvAppendF32 from "./kv_append_f32.wgsl" with { type: "text" };
import kvF16 from "./kv_f16.wgsl" with { type: "text" };
import kvF32 from "./kv_f32.wgsl" with { type: "text" };
import kvReadF16 from "./kv_read_f16.wgsl" with { type: "text" };
import kvReadF32 from "./kv_read_f32.wgsl" with { type: "text" };
import rotate from "./rotate.wgsl" with { type: "text" };
import step from "./step.wgsl" with { type: "text" };
import type { KernelSpec } from "./spec.ts";
import type { KvType } from "./sizes.ts";
import { type HeadShape, type KvTable, type Rotation, rotation } from "./specs.ts";

/**
 * The most queries per workgroup of attention_keys.wgsl. For each query, a lane keeps eight sums in
 * registers.
 */
export const MOST_QUERIES = 4;

/** Positions that a workgroup of attention_keys.wgsl processes at a time, one per lane. */
export const KEY_TILE = 64;

/**
 * The widest head that attention_keys.wgsl supports: each lane processes eight elements of a value.
 */
export const WIDEST_HEAD = 8 * KEY_TILE;

/** Causal attention over the paged cache. Reference: `attention` of reference.ts. */
export function attentionKeysSpec(
  s: HeadShape & {
    readonly scale: number;
    readonly window?: number | undefined;
    /** Heads per workgroup. */
    readonly queryHeads: number;
    /** Tokens per workgroup. */
    readonly queryTokens: number;
    readonly kv: KvType;
    readonly table: KvTable;
    /**
     * Set if the kernel also rotates queries and keys and appends keys and values to the cache, in
     * steps of one token per sequence.
     */
    readonly rotation?: Rotation | undefined;
  },
): KernelSpec {
  const queries = s.queryHeads * s.queryTokens;
  const fours = Math.ceil(queries / 4);
  const rotates = s.rotation && rotation(s.rotation);
  const f16 = s.kv === "f16";
  return {
    name: "attention",
    parts: [
      `const HEAD_DIM = ${s.headDim}u;`,
      `const QUERY_HEADS = ${s.queryHeads}u;\nconst QUERY_TOKENS = ${s.queryTokens}u;`,
      step,
      ...(f16 ? [kvF16] : [kvF32]),
      ...(rotates
        ? [f16 ? kvAppendF16 : kvAppendF32, rotates.constants, rotate, attentionRotates]
        : [f16 ? kvReadF16 : kvReadF32, attentionQueries]),
      attentionKeys,
    ],
    overrides: {
      ...rotates?.overrides,
      HEADS: s.heads,
      KV_HEADS: s.kvHeads,
      SCALE: s.scale,
      WINDOW: s.window ?? 0,
      KV_GROUPS: s.table.groups,
      KV_GROUP: s.table.group,
    },
    // At most eight storage buffers: every device supports that many.
    bindings: rotates
      ? {
        ...{ 0: "read", 1: "write", 3: "write", 4: "step", 5: "write", 6: "write" },
        ...{ 8: "read", 9: "read" },
      }
      : { 0: "read", 1: "write", 3: "read", 4: "step", 5: "read", 6: "write" },
    workgroupSize: [KEY_TILE, 1],
    workgroupBytes: (KEY_TILE + 8) * fours * 16 + KEY_TILE * 32 +
      (rotates ? queries * (s.headDim * 4 + 4) + 4 : 0),
  };
}

/** Merges the partial results of each head's attention. */
export function attentionMergeSpec(
  s: { readonly heads: number; readonly headDim: number },
): KernelSpec {
  return {
    name: "attention_merge",
    parts: [`const HEAD_DIM = ${s.headDim}u;`, attentionMerge],
    overrides: { HEADS: s.heads },
    bindings: { 0: "read", 2: "write", 3: "step" },
    workgroupSize: [256, 1],
    workgroupBytes: 256 * 24,
  };
}
