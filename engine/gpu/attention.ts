/** Attention over the paged cache, as dispatches. */

import {
  attentionKeysSpec,
  attentionMergeSpec,
  MOST_QUERIES,
  WIDEST_HEAD,
} from "../../kernels/attention_specs.ts";
import type { KernelSpec } from "../../kernels/spec.ts";
import { attentionSpec, type HeadShape } from "../../kernels/specs.ts";
import type { PositionTuning } from "../../kernels/tuning.ts";
import { UnsupportedError } from "../errors.ts";
import type { LayerCache } from "./kv_cache.ts";
import type { Operation, OperationContext } from "./operation.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";

/** The heads of a layer, and what they see. */
export type AttentionShape = HeadShape & {
  /** Multiplies q · k. */
  readonly scale: number;
  /** Positions that a token sees, its own included; absent: all. */
  readonly window?: number | undefined;
};

/** Attends over the cache, from the step's queries to `attended`. */
export function attentionOperations(
  context: OperationContext,
  shape: AttentionShape,
  cache: LayerCache,
): Operation[] {
  const { attention } = context.tuning;
  return attention.by === "positions"
    ? [byPositions(context, shape, { cache, tuning: attention })]
    : byTiles(context, shape, cache);
}

// A workgroup for each token and some heads of a KV head.
function byPositions(
  { pipelines, scratch: { queries, attended, metadata }, kv }: OperationContext,
  { heads, kvHeads, headDim, scale, window }: AttentionShape,
  { cache, tuning }: { readonly cache: LayerCache; readonly tuning: PositionTuning },
): Operation {
  const together = largestDivisor(heads / kvHeads, tuning.heads);
  const shape = {
    heads,
    kvHeads,
    headDim,
    scale,
    window,
    queries: together,
    kv,
    table: cache.table,
  };
  let { lanes } = tuning;
  let spec = attentionSpec({ ...shape, lanes });
  // Each lane has a head's sum in the workgroup's memory: of wide heads, fewer fit.
  while (spec.workgroupBytes > pipelines.gpu.limits.maxComputeWorkgroupStorageSize && lanes > 1) {
    lanes /= 2;
    spec = attentionSpec({ ...shape, lanes });
  }
  return overCache(pipelines, cache, {
    spec,
    buffers: () => ({ 0: queries, 1: attended, 3: cache.keys, 4: metadata, 5: cache.values }),
    dispatch: (pipeline, count) => ({ pipeline, workgroups: [heads / together, count] }),
  });
}

// A workgroup for some queries of a KV head. In a step of one token a sequence, several for each, whose
// parts are added; in other steps tokens of one sequence may share one.
function byTiles(
  { pipelines, scratch, kv }: OperationContext,
  { heads, kvHeads, headDim, scale, window }: AttentionShape,
  cache: LayerCache,
): Operation[] {
  if (headDim > WIDEST_HEAD) {
    throw new UnsupportedError(
      `Cannot run attention on the GPU: its heads of ${headDim} are wider than ${WIDEST_HEAD}; use --device cpu`,
    );
  }
  const { queries, attended, metadata, attentionParts, attentionWeights } = scratch;
  const group = heads / kvHeads;
  const shared = Math.ceil(group / MOST_QUERIES);
  const queryHeads = Math.ceil(group / shared);
  const shape = { heads, kvHeads, headDim, scale, window, queryHeads, kv, table: cache.table };
  const spec = (queryTokens: number) => attentionKeysSpec({ ...shape, queryTokens });
  const queryTokens = Math.floor(MOST_QUERIES / queryHeads);
  const prompts = pipelines.get(spec(queryTokens));
  const merge = pipelines.get(attentionMergeSpec({ heads, headDim }));
  const merged = pipelines.bind(merge, {
    0: attentionParts,
    1: attentionWeights,
    2: attended,
    3: metadata,
  });
  return [
    overCache(pipelines, cache, {
      spec: spec(1),
      buffers: () => ({
        0: queries,
        1: attended,
        3: cache.keys,
        4: metadata,
        5: cache.values,
        6: attentionParts,
        7: attentionWeights,
      }),
      dispatch: (decode, count, parts) => {
        const [pipeline, rows] = parts > 0
          ? [decode, count * parts]
          : [prompts, Math.ceil(count / queryTokens)];
        return { pipeline, workgroups: [kvHeads * shared, rows] };
      },
    }),
    {
      over: "tokens",
      at: (count, parts) => ({
        pipeline: merge,
        group: merged,
        workgroups: [parts > 1 ? heads : 0, count],
      }),
    },
  ];
}

/** An operation whose buffers are bound anew when the cache has grown. */
export function overCache(
  pipelines: Pipelines,
  cache: LayerCache,
  { spec, buffers, dispatch }: {
    readonly spec: KernelSpec;
    readonly buffers: () => Readonly<Record<number, GPUBuffer>>;
    /** The dispatch but for what it binds, by the kernel of `spec` or one of equal bindings. */
    readonly dispatch: (
      pipeline: Pipeline,
      count: number,
      attentionParts: number,
    ) => Omit<Dispatch, "group">;
  },
): Operation {
  const pipeline = pipelines.get(spec);
  let bound = cache.keys;
  let group = pipelines.bind(pipeline, buffers());
  return {
    over: "tokens",
    at: (count, attentionParts) => {
      if (bound !== cache.keys) {
        bound = cache.keys;
        group = pipelines.bind(pipeline, buffers());
      }
      return { ...dispatch(pipeline, count, attentionParts), group };
    },
  };
}

/** The largest number up to `most` that divides `n`. */
function largestDivisor(n: number, most: number): number {
  let divisor = Math.min(n, most);
  while (n % divisor !== 0) divisor--;
  return divisor;
}
