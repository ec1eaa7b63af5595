/** Builds the dispatches of attention over the paged KV cache. */

import {
  attentionKeysSpec,
  attentionMergeSpec,
  MOST_QUERIES,
  WIDEST_HEAD,
} from "../../kernels/attention_specs.ts";
import type { KernelSpec } from "../../kernels/spec.ts";
import {
  attentionSpec,
  type HeadShape,
  ropeAppendSpec,
  type Rotation,
} from "../../kernels/specs.ts";
import type { PositionTuning } from "../../kernels/tuning.ts";
import { UnsupportedError } from "../errors.ts";
import type { AttentionSpec } from "../model/config.ts";
import type { LayerCache } from "./kv_cache.ts";
import type { Operation, OperationContext } from "./operation.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";

/** A layer's heads, their rotation, and the positions that they see. */
export type AttentionLayer =
  & HeadShape
  & Pick<AttentionSpec, "rope" | "temperature" | "scale" | "window">;

/** The buffers that attention uses besides the scratch buffers. */
export interface AttentionPlace {
  readonly cache: LayerCache;
  readonly angles: GPUBuffer;
  /** Norm weights of the query heads and then the key heads, if heads are normalized. */
  readonly norms?: GPUBuffer | undefined;
}

/**
 * Rotates queries and keys and appends keys and values to the cache. If attention works by tiles,
 * its own kernel does this in steps of one token per sequence, and this operation launches nothing.
 */
export function ropeAppendOperation(
  context: OperationContext,
  layer: AttentionLayer,
  { cache, angles, norms }: AttentionPlace,
): Operation {
  const { pipelines, tuning, scratch: { qkv, queries, metadata, unused }, kv } = context;
  const { heads, kvHeads } = layer;
  const tiles = tuning.attention.by === "tiles";
  const spec = ropeAppendSpec({
    ...sizesOf(layer),
    ...rotationOf(context, layer, norms),
    columns: tiles,
    kv,
    table: cache.table,
    lanes: tuning.elementLanes,
  });
  return overCache(pipelines, cache, {
    spec,
    buffers: () => ({
      0: qkv,
      1: queries,
      2: cache.keys,
      3: cache.values,
      5: metadata,
      8: angles,
      9: norms ?? unused,
    }),
    dispatch: (pipeline, count, parts) => ({
      pipeline,
      workgroups: [tiles && parts > 0 ? 0 : heads + 2 * kvHeads, count],
    }),
  });
}

/**
 * Computes attention over the cache and writes it to `attended`. It reads the rotated queries, or
 * unrotated ones that its kernel rotates.
 */
export function attentionOperations(
  context: OperationContext,
  layer: AttentionLayer,
  place: AttentionPlace,
): Operation[] {
  const { attention } = context.tuning;
  return attention.by === "positions"
    ? [byPositions(context, layer, { cache: place.cache, tuning: attention })]
    : byTiles(context, layer, place);
}

// Returns the constants of a kernel that rotates.
function rotationOf(
  { rmsEpsilon }: OperationContext,
  { rope, temperature }: AttentionLayer,
  norms: GPUBuffer | undefined,
): Rotation {
  return {
    epsilon: norms && rmsEpsilon,
    ropeDims: rope.dims,
    half: rope.layout === "half",
    temperature,
  };
}

// Returns only the sizes, so that layers that differ in nothing else share a kernel.
function sizesOf({ heads, kvHeads, headDim }: HeadShape): HeadShape {
  return { heads, kvHeads, headDim };
}

// One workgroup per token and group of a KV head's query heads.
function byPositions(
  { pipelines, scratch: { queries, attended, metadata }, kv }: OperationContext,
  { heads, kvHeads, headDim, scale, window }: AttentionLayer,
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
  // Each lane keeps its sums in workgroup memory, so fewer lanes fit if the heads are wide.
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

// One workgroup per group of a KV head's queries. If each sequence of the step has one token,
// several workgroups may share its positions: they also rotate and append, and their partial
// results are merged. In other steps, tokens of one sequence may share a workgroup.
function byTiles(
  context: OperationContext,
  layer: AttentionLayer,
  { cache, angles, norms }: AttentionPlace,
): Operation[] {
  const { pipelines, scratch, kv } = context;
  const { heads, kvHeads, headDim, scale, window } = layer;
  if (headDim > WIDEST_HEAD) {
    throw new UnsupportedError(
      `Cannot run attention on the GPU: its head size ${headDim} exceeds ${WIDEST_HEAD}; use --device cpu`,
    );
  }
  const { qkv, queries, attended, metadata, attentionParts, unused } = scratch;
  const group = heads / kvHeads;
  const shared = Math.ceil(group / MOST_QUERIES);
  const queryHeads = Math.ceil(group / shared);
  const shape = { heads, kvHeads, headDim, scale, window, queryHeads, kv, table: cache.table };
  const queryTokens = Math.floor(MOST_QUERIES / queryHeads);
  const written = { 1: attended, 4: metadata, 6: attentionParts };
  const merge = pipelines.get(attentionMergeSpec({ heads, headDim }));
  const merged = pipelines.bind(merge, {
    0: attentionParts,
    2: attended,
    3: metadata,
  });
  return [
    overCache(pipelines, cache, {
      spec: attentionKeysSpec({ ...shape, queryTokens }),
      buffers: () => ({ 0: queries, 3: cache.keys, 5: cache.values, ...written }),
      dispatch: (pipeline, count, parts) => ({
        pipeline,
        workgroups: [parts > 0 ? 0 : kvHeads * shared, Math.ceil(count / queryTokens)],
      }),
    }),
    overCache(pipelines, cache, {
      spec: attentionKeysSpec({
        ...shape,
        queryTokens: 1,
        rotation: rotationOf(context, layer, norms),
      }),
      buffers: () => ({
        ...{ 0: qkv, 3: cache.keys, 5: cache.values, 8: angles, 9: norms ?? unused },
        ...written,
      }),
      dispatch: (pipeline, count, parts) => ({
        pipeline,
        workgroups: [kvHeads * shared, count * parts],
      }),
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

// Returns an operation that binds its buffers again after the cache has grown.
function overCache(
  pipelines: Pipelines,
  cache: LayerCache,
  { spec, buffers, dispatch }: {
    readonly spec: KernelSpec;
    readonly buffers: () => Readonly<Record<number, GPUBuffer>>;
    /** Returns the dispatch without its bind group. `pipeline` is the one of `spec`. */
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

/** Returns the largest divisor of `n` that is at most `most`. */
function largestDivisor(n: number, most: number): number {
  let divisor = Math.min(n, most);
  while (n % divisor !== 0) divisor--;
  return divisor;
}
