/** The operations of a layer with attention. */

import { ATTENTION, MERGE, partBytes } from "../../kernels/wasm/attention_fields.ts";
import { HALF_FACTOR } from "../../kernels/wasm/math.ts";
import { cachedDim, ROPE, TOKEN } from "../../kernels/wasm/rope.ts";
import type { AttentionSpec } from "../model/config.ts";
import type { Model, StepShape } from "./model.ts";
import { areFew, type Output, type Prepared, type ProgramWriter } from "./program.ts";
import { mixerRow, type Scratch } from "./scratch.ts";
import type { Matrix } from "./matrix.ts";
import type { AttentionWeights } from "./weights.ts";

/** A layer with attention in a step. */
export interface Attention {
  readonly spec: AttentionSpec;
  readonly weights: AttentionWeights;
  /** Index of the layer. */
  readonly layer: number;
  readonly shape: StepShape;
  /** Adds the operation that prepares the layer's input for the given matrices. */
  readonly prepare: (matrices: readonly Matrix[]) => Prepared;
  /** Destination of the layer's result. */
  readonly branch: Output;
}

/** Adds the layer's operations to the list. The last operation is not joined. */
export function attentionProgram(
  writer: ProgramWriter,
  model: Model,
  attention: Attention,
): void {
  const { scratch, index: kernels } = writer.context;
  const { spec, weights, layer, shape: { tokens, splits }, prepare, branch } = attention;
  const { heads, kvHeads, headDim } = spec;
  const { queryGate } = weights;
  const gates = queryGate ? [queryGate] : [];
  const prepared = prepare([weights.query, weights.key, weights.value, ...gates]);
  const project = (matrix: Matrix, bias: number, y: number) =>
    writer.multiply(matrix, prepared, { tokens, y, stride: scratch.headsStride, bias });
  const [, keysAt, valuesAt, gatesAt] = mixerRow(spec).at.map((at) => scratch.heads + at) as [
    ...[number, number, number, number],
  ];
  project(weights.query, weights.queryBias, scratch.heads);
  project(weights.key, weights.keyBias, keysAt);
  project(weights.value, weights.valueBias, valuesAt);
  if (queryGate) project(queryGate, 0, gatesAt);
  writer.join();
  rope(writer, model, { ...attention, keysAt, valuesAt });
  const own = model.cache.layers[layer]!;
  const dim = cachedDim(headDim);
  const metadata = metadataOf(scratch, own.group);
  const window = spec.window ?? 0;
  writer.add(
    kernels.attention,
    { units: tokens * kvHeads * splits, chunk: 1 },
    {
      fields: ATTENTION,
      values: {
        kvHeads,
        group: heads / kvHeads,
        headDim,
        cachedDim: dim,
        splits,
        window,
        qStride: scratch.headsStride,
        headBytes: own.headBytes,
        partBytes: partBytes(dim),
        q: scratch.heads,
        keys: own.keys,
        values: own.values,
        ...metadata,
        parts: scratch.parts,
        scratch: scratch.attention,
        thread: scratch.attentionThread,
      },
    },
  );
  writer.join();
  const attended = writer.prepare(
    kernels.merge,
    { units: tokens, few: areFew(tokens), matrices: [weights.output] },
    {
      fields: MERGE,
      values: {
        columns: heads * headDim,
        heads,
        headDim,
        partBytes: partBytes(dim),
        splits,
        window,
        parts: scratch.parts,
        tokens: metadata.tokens,
        factor: halfFactor(model),
        gate: queryGate ? gatesAt : 0,
        gateStride: scratch.headsStride,
      },
    },
  );
  writer.multiply(weights.output, attended, { tokens, bias: weights.outputBias, ...branch });
}

/**
 * Normalizes (if the layer has head norms) and rotates queries and keys, and writes keys and values
 * to the cache.
 */
function rope(
  writer: ProgramWriter,
  model: Model,
  { spec, weights, layer, shape, keysAt, valuesAt }: Attention & {
    readonly keysAt: number;
    readonly valuesAt: number;
  },
): void {
  const { scratch, index: kernels } = writer.context;
  const { heads, kvHeads, headDim, rope, scale, temperature } = spec;
  const own = model.cache.layers[layer]!;
  const pairs = rope.dims / 2;
  const angles = scratch.angles.get(rope)!;
  writer.add(
    kernels.rope,
    { units: shape.tokens * (heads + kvHeads) },
    {
      fields: ROPE,
      values: {
        heads,
        kvHeads,
        headDim,
        pairs,
        pair: rope.layout === "half" ? 1 : 2,
        apart: rope.layout === "half" ? pairs : 1,
        stride: scratch.headsStride,
        headBytes: own.headBytes,
        q: scratch.heads,
        k: keysAt,
        v: valuesAt,
        cos: angles.cos,
        sin: angles.sin,
        temperatures: temperature ? scratch.temperatures.get(temperature)! : 0,
        queryNorm: weights.queryNorm,
        keyNorm: weights.keyNorm,
        keys: own.keys,
        values: own.values,
        ...metadataOf(scratch, own.group),
        epsilon: model.config.rmsEpsilon,
        scale: scale * halfFactor(model),
      },
    },
  );
  writer.join();
}

/**
 * Returns HALF_FACTOR for a float16 cache, whose values the kernels read without it (see
 * `loadHalves`), otherwise 1.
 */
function halfFactor({ cache }: Model): number {
  return cache.type === "f16" ? HALF_FACTOR : 1;
}

function metadataOf(scratch: Scratch, group: number): { tokens: number; tables: number } {
  const { tokens, sequences } = scratch.sizes;
  return {
    tokens: scratch.tokens + group * tokens * TOKEN.bytes,
    tables: scratch.tables + 4 * group * sequences * scratch.tableBlocks,
  };
}
