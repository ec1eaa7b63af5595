/** Writes the operations of a step, from the model's list of layers. */

import { SPLIT_KEYS } from "../../kernels/wasm/attention_fields.ts";
import { OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { GATE, NORM, RELU2 } from "../../kernels/wasm/prepare.ts";
import { NORM_ADD, PICK } from "../../kernels/wasm/rows.ts";
import type { DenseSpec, ExpertsSpec, ModelConfig } from "../model/config.ts";
import { isRecurrent } from "../model/mixers.ts";
import { attentionProgram } from "./attention.ts";
import type { Model, StepShape } from "./model.ts";
import {
  areFew,
  type OperationList,
  type Output,
  type Prepared,
  type ProgramContext,
  ProgramWriter,
} from "./program.ts";
import { recurrentProgram } from "./recurrent.ts";
import { padded } from "./scratch.ts";
import type { Matrix } from "./matrix.ts";
import type {
  AttentionWeights,
  DenseWeights,
  ExpertWeights,
  LayerWeights,
  RecurrentWeights,
} from "./weights.ts";

/** A list. `routes`: index of the layer whose router runs at the end of the list, if one does. */
export interface Segment extends OperationList {
  readonly routes?: number;
}

/** Writes the operations of all layers, in segments that end at routers. */
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
    const { mixer, feedForward } = layer;
    if (mixer) layers.mixer(i, layer);
    if (feedForward === undefined) continue;
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
    const mixer = config.layers[index]!.mixer!;
    const branch = this.#branch(layer.attentionPostNorm);
    const prepare = (matrices: readonly Matrix[]) => this.#norm(layer.attentionNorm, matrices);
    if (isRecurrent(mixer)) {
      const weights = layer.mixer as RecurrentWeights;
      const epsilon = config.rmsEpsilon;
      recurrentProgram(writer, { spec: mixer, weights, states: states.layers[index]!, epsilon }, {
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

  /**
   * h += down · (activation(gate · x) ⊙ up · x), where x = norm(h). Without a gate it is
   * activation(up · x).
   */
  dense(spec: DenseSpec, layer: LayerWeights, weights: DenseWeights): void {
    const { gate, up, down } = weights;
    const { context: { scratch }, writer, shape: { tokens } } = this;
    const prepared = this.#norm(layer.ffnNorm, [...gate ? [gate] : [], up]);
    const stride = scratch.gateStride;
    if (gate) {
      writer.multiply(gate, prepared, { tokens, y: scratch.gate, stride, bias: weights.gateBias });
    }
    writer.multiply(up, prepared, { tokens, y: scratch.up, stride, bias: weights.upBias });
    writer.join();
    const gated = prepareActivated(writer, spec, {
      ...{ units: tokens, few: areFew(tokens), down, gate: scratch.gate, up: scratch.up, stride },
    });
    const branch = this.#branch(layer.ffnPostNorm);
    writer.multiply(down, gated, { tokens, bias: weights.downBias, ...branch });
    writer.join();
    this.#postNorm(layer.ffnPostNorm);
  }

  /** Computes the router's logits. The experts can only be chosen once these have been computed. */
  router(layer: LayerWeights, weights: ExpertWeights): void {
    const { context: { scratch }, writer, shape: { tokens } } = this;
    const { router, shared } = weights;
    const prepared = this.#norm(layer.ffnNorm, firstOfExperts(weights));
    writer.multiply(router, prepared, { tokens, y: scratch.router, stride: scratch.routerStride });
    if (shared) {
      const stride = scratch.sharedStride;
      if (shared.gate) {
        writer.multiply(shared.gate, prepared, { tokens, y: scratch.sharedGate, stride });
      }
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

  /**
   * Destination of a mixer or a feed-forward network: added to the hidden states, or written to
   * `added` if a norm follows.
   */
  #branch(postNorm: number): Output {
    const { hidden, added, hiddenStride: stride } = this.context.scratch;
    return postNorm === 0 ? { y: hidden, stride, accumulate: true } : { y: added, stride };
  }

  #postNorm(weight: number): void {
    if (weight === 0) return;
    addPostNorm(this.writer, this.model.config, { weight, tokens: this.shape.tokens });
  }
}

/**
 * The matrices that multiply the input of a layer of experts. One expert stands for all, because
 * their matrices of a kind have the same type.
 */
export function firstOfExperts({ router, gates, ups, shared }: ExpertWeights): Matrix[] {
  const first = [...gates ? [gates[0]!] : [], ups[0]!];
  const ofShared = shared ? [...shared.gate ? [shared.gate] : [], shared.up] : [];
  return [router, ...first, ...ofShared];
}

/** Prepares activation(gate) ⊙ up, or activation(up) without a gate, for `down`. */
export function prepareActivated(
  writer: ProgramWriter,
  { width, activation }: Pick<DenseSpec | ExpertsSpec, "width" | "activation">,
  { units, few, down, gate, up, stride: fromStride }: {
    readonly units: number;
    readonly few: boolean;
    readonly down: Matrix;
    /** Addresses of the rows, and the stride of both in bytes. */
    readonly gate: number;
    readonly up: number;
    readonly stride: number;
  },
): Prepared {
  const { index: kernels } = writer.context;
  const output = { units, few, matrices: [down] };
  const values = { columns: width, fromStride };
  return activation === "relu2"
    ? writer.prepare(kernels.relu2, output, { fields: RELU2, values: { ...values, from: up } })
    : writer.prepare(kernels.gates.get(activation)!, output, {
      fields: GATE,
      values: { ...values, gate, up },
    });
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
    /** Address of the indices of the rows of hidden states. */
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

/** Writes the operations that compute the logits of the rows that `scratch.logitRows` lists. */
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

/** Returns the number of splits of a sequence with this many positions. */
export function splitsOf(positions: number): number {
  return Math.ceil(positions / SPLIT_KEYS);
}
