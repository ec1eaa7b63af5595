/** The operations of a step, from the model's list of layers. */

import { SPLIT_KEYS } from "../../kernels/wasm/attention_fields.ts";
import { OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { GATE, NORM } from "../../kernels/wasm/prepare.ts";
import { NORM_ADD, PICK } from "../../kernels/wasm/rows.ts";
import type { DenseSpec, ModelConfig } from "../model/config.ts";
import { attentionProgram } from "./attention.ts";
import { deltaNetProgram } from "./delta_net.ts";
import type { Model, StepShape } from "./model.ts";
import {
  areFew,
  type OperationList,
  type Output,
  type ProgramContext,
  ProgramWriter,
} from "./program.ts";
import { padded } from "./scratch.ts";
import type {
  AttentionWeights,
  DeltaNetWeights,
  DenseWeights,
  ExpertWeights,
  LayerWeights,
  Matrix,
} from "./weights.ts";

/** A list, and the layer whose router has run at the end of it, if one has. */
export interface Segment extends OperationList {
  readonly routes?: number;
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
    const { model: { config, states }, writer, shape: { tokens, sequences } } = this;
    const { mixer } = config.layers[index]!;
    const branch = this.#branch(layer.attentionPostNorm);
    const prepare = (matrices: readonly Matrix[]) => this.#norm(layer.attentionNorm, matrices);
    if (mixer.kind === "delta-net") {
      const weights = layer.mixer as DeltaNetWeights;
      const epsilon = config.rmsEpsilon;
      deltaNetProgram(writer, { spec: mixer, weights, states: states.layers[index]!, epsilon }, {
        ...{ tokens, sequences, prepare, branch },
      });
    } else {
      attentionProgram(writer, this.model, {
        ...{ spec: mixer, weights: layer.mixer as AttentionWeights, layer: index },
        ...{ shape: this.shape, prepare, branch },
      });
    }
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
  router(layer: LayerWeights, { router, gates, ups, shared }: ExpertWeights): void {
    const { context: { scratch }, writer, shape: { tokens } } = this;
    const ofShared = shared ? [shared.gate, shared.up] : [];
    const prepared = this.#norm(layer.ffnNorm, [router, gates[0]!, ups[0]!, ...ofShared]);
    writer.multiply(router, prepared, { tokens, y: scratch.router, stride: scratch.routerStride });
    if (shared) {
      const stride = scratch.sharedStride;
      writer.multiply(shared.gate, prepared, { tokens, y: scratch.sharedGate, stride });
      writer.multiply(shared.up, prepared, { tokens, y: scratch.sharedUp, stride });
    }
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
