/** The operations of a step, from the model's list of layers. */

import { ATTENTION, MERGE, partBytes, SPLIT_KEYS } from "../../kernels/wasm/attention_fields.ts";
import { paddedRows } from "../../kernels/wasm/formats.ts";
import { HALF_FACTOR } from "../../kernels/wasm/math.ts";
import { OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { GATE, NORM } from "../../kernels/wasm/prepare.ts";
import { cachedDim, ROPE, TOKEN } from "../../kernels/wasm/rope.ts";
import { NORM_ADD, PICK } from "../../kernels/wasm/rows.ts";
import type { DenseSpec, ModelConfig } from "../model/config.ts";
import type { KvCache } from "./kv_cache.ts";
import {
  areFew,
  type OperationList,
  type Output,
  type ProgramContext,
  ProgramWriter,
} from "./program.ts";
import { padded } from "./scratch.ts";
import type { DenseWeights, ExpertWeights, LayerWeights, Matrix, ModelWeights } from "./weights.ts";

/** A list, and the layer whose router has run at the end of it, if one has. */
export interface Segment extends OperationList {
  readonly routes?: number;
}

/** What the operations of a step depend on. */
export interface StepShape {
  readonly tokens: number;
  /** Splits of attention that are units of their own; 1: a unit is all of a head. */
  readonly splits: number;
  /** See ProgramWriter. */
  readonly apart: boolean;
}

export interface Model {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly cache: KvCache;
}

/** Writes the operations of all layers. */
export function layerProgram(
  context: ProgramContext,
  model: Model,
  shape: StepShape,
): Segment[] {
  const writer = new ProgramWriter(context, context.scratch.operations, shape.apart);
  const layers = new LayerWriter(model, shape, writer);
  const segments: Segment[] = [];
  let first = 0;
  const segment = () => {
    const start = writer.start + first * OPERATION_BYTES;
    const operations = writer.operations.slice(first);
    first = writer.operations.length;
    return { start, operations };
  };
  for (const [i, layer] of model.weights.layers.entries()) {
    layers.mixer(i, layer);
    const { feedForward } = layer;
    if ("router" in feedForward) {
      layers.router(layer, feedForward);
      segments.push({ ...segment(), routes: i });
    } else {
      const spec = model.config.layers[i]!.feedForward as DenseSpec;
      layers.dense(spec, layer, feedForward);
    }
  }
  if (writer.operations.length > first) segments.push(segment());
  return segments;
}

class LayerWriter {
  constructor(
    readonly model: Model,
    readonly shape: StepShape,
    readonly writer: ProgramWriter,
  ) {}

  get context(): ProgramContext {
    return this.writer.context;
  }

  /** h += mixer(norm(h)). */
  mixer(index: number, layer: LayerWeights): void {
    const { context: { scratch, index: kernels }, writer, shape: { tokens, splits } } = this;
    const { config, cache } = this.model;
    const { mixer } = config.layers[index]!;
    const { heads, kvHeads, headDim } = mixer;
    const prepared = this.#norm(layer.attentionNorm, [layer.query, layer.key, layer.value]);
    const project = (matrix: Matrix, bias: number, y: number) =>
      writer.multiply(matrix, prepared, { tokens, y, stride: scratch.headsStride, bias });
    const keysAt = scratch.heads + 4 * paddedRows(heads * headDim);
    const valuesAt = keysAt + 4 * paddedRows(kvHeads * headDim);
    project(layer.query, layer.queryBias, scratch.heads);
    project(layer.key, layer.keyBias, keysAt);
    project(layer.value, layer.valueBias, valuesAt);
    writer.join();
    this.#rope(index, layer, { keysAt, valuesAt });
    const own = cache.layers[index]!;
    const dim = cachedDim(headDim);
    const metadata = this.#metadata(own.group);
    const window = mixer.window ?? 0;
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
      { units: tokens, few: areFew(tokens), matrices: [layer.attentionOutput] },
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
          factor: this.#halfFactor(),
        },
      },
    );
    const branch = this.#branch(layer.attentionPostNorm);
    const bias = layer.attentionOutputBias;
    writer.multiply(layer.attentionOutput, attended, { tokens, bias, ...branch });
    writer.join();
    this.#postNorm(layer.attentionPostNorm);
  }

  /** h += down · (activation(gate · x) ⊙ up · x), where x = norm(h). */
  dense(spec: DenseSpec, layer: LayerWeights, weights: DenseWeights): void {
    const { gate, up, down } = weights;
    const { context: { scratch, index: kernels }, writer, shape: { tokens } } = this;
    const prepared = this.#norm(layer.ffnNorm, [gate, up]);
    const stride = scratch.gateStride;
    writer.multiply(gate, prepared, { tokens, y: scratch.gate, stride, bias: weights.gateBias });
    writer.multiply(up, prepared, { tokens, y: scratch.up, stride, bias: weights.upBias });
    writer.join();
    const gated = writer.prepare(
      kernels.gates.get(spec.activation)!,
      { units: tokens, few: areFew(tokens), matrices: [down] },
      {
        fields: GATE,
        values: {
          columns: spec.width,
          fromStride: scratch.gateStride,
          gate: scratch.gate,
          up: scratch.up,
        },
      },
    );
    const branch = this.#branch(layer.ffnPostNorm);
    writer.multiply(down, gated, { tokens, bias: weights.downBias, ...branch });
    writer.join();
    this.#postNorm(layer.ffnPostNorm);
  }

  /** The logits of the router; what they choose is not known before they are there. */
  router(layer: LayerWeights, { router, gates, ups }: ExpertWeights): void {
    const { context: { scratch }, writer, shape: { tokens } } = this;
    const prepared = this.#norm(layer.ffnNorm, [router, gates[0]!, ups[0]!]);
    writer.multiply(router, prepared, { tokens, y: scratch.router, stride: scratch.routerStride });
    writer.join();
  }

  #norm(weight: number, matrices: readonly Matrix[]) {
    const { scratch } = this.context;
    const { tokens } = this.shape;
    return prepareNorm(this.writer, this.model.config, {
      weight,
      matrices,
      rows: scratch.identity,
      count: tokens,
    });
  }

  #rope(
    index: number,
    layer: LayerWeights,
    { keysAt, valuesAt }: { keysAt: number; valuesAt: number },
  ): void {
    const { context: { scratch, index: kernels }, writer, shape: { tokens } } = this;
    const { mixer } = this.model.config.layers[index]!;
    const { heads, kvHeads, headDim, rope, scale, temperature } = mixer;
    const own = this.model.cache.layers[index]!;
    const pairs = rope.dims / 2;
    const angles = scratch.angles.get(rope)!;
    writer.add(
      kernels.rope,
      { units: tokens * (heads + kvHeads) },
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
          queryNorm: layer.queryNorm,
          keyNorm: layer.keyNorm,
          keys: own.keys,
          values: own.values,
          ...this.#metadata(own.group),
          epsilon: this.model.config.rmsEpsilon,
          scale: scale * this.#halfFactor(),
        },
      },
    );
    writer.join();
  }

  /** Halves are read without their factor. */
  #halfFactor(): number {
    return this.model.cache.type === "f16" ? HALF_FACTOR : 1;
  }

  #metadata(group: number): { tokens: number; tables: number } {
    const { scratch } = this.context;
    const { tokens, sequences } = scratch.sizes;
    return {
      tokens: scratch.tokens + group * tokens * TOKEN.bytes,
      tables: scratch.tables + 4 * group * sequences * scratch.tableBlocks,
    };
  }

  /** Where a layer's half puts its result: onto the hidden states, or where a norm takes it. */
  #branch(postNorm: number): Output {
    const { hidden, added, hiddenStride: stride } = this.context.scratch;
    return postNorm === 0 ? { y: hidden, stride, accumulate: true } : { y: added, stride };
  }

  #postNorm(weight: number): void {
    if (weight === 0) return;
    addPostNorm(this.writer, this.model.config, { weight, tokens: this.shape.tokens });
  }
}

/** hidden += norm(added) · weight. */
export function addPostNorm(
  writer: ProgramWriter,
  { dim, rmsEpsilon: epsilon }: ModelConfig,
  { weight, tokens }: { readonly weight: number; readonly tokens: number },
): void {
  const { scratch, index } = writer.context;
  writer.add(index.normAdd, { units: tokens }, {
    fields: NORM_ADD,
    values: {
      columns: dim,
      padded: padded(dim),
      stride: scratch.hiddenStride,
      from: scratch.added,
      hidden: scratch.hidden,
      weight,
      epsilon,
    },
  });
  writer.join();
}

function prepareNorm(
  writer: ProgramWriter,
  { dim, rmsEpsilon: epsilon }: ModelConfig,
  { weight, matrices, rows, count }: {
    readonly weight: number;
    readonly matrices: readonly Matrix[];
    /** Address of the numbers of the rows of hidden states. */
    readonly rows: number;
    readonly count: number;
  },
) {
  const { scratch, index } = writer.context;
  return writer.prepare(
    index.norm,
    { units: count, few: areFew(count), matrices },
    {
      fields: NORM,
      values: {
        columns: dim,
        fromStride: scratch.hiddenStride,
        from: scratch.hidden,
        rows,
        weight,
        epsilon,
      },
    },
  );
}

/** Writes the operations of some rows of logits, which `scratch.logitRows` names. */
export function logitsProgram(
  context: ProgramContext,
  { config, weights }: Model,
  { rows, apart }: { readonly rows: number; readonly apart: boolean },
): OperationList {
  const { scratch, index } = context;
  const writer = new ProgramWriter(context, scratch.logitsOperations, apart);
  const prepared = prepareNorm(writer, config, {
    weight: weights.outputNorm,
    matrices: [weights.output],
    rows: scratch.logitRows,
    count: rows,
  });
  const { logits: y, logitsStride: stride } = scratch;
  writer.multiply(weights.output, prepared, { tokens: rows, y, stride });
  writer.join();
  writer.add(index.pick, { units: rows, chunk: 1 }, {
    fields: PICK,
    values: {
      columns: config.vocabSize & ~3,
      stride,
      rows: y,
      out: scratch.picks,
    },
  });
  writer.join();
  return writer;
}

/** Splits of the longest of some sequences. */
export function splitsOf(positions: number): number {
  return Math.ceil(positions / SPLIT_KEYS);
}
