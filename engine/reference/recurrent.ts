/**
 * Layers whose state is a matrix for each head, computed token by token: the gated delta rule, and
 * Mamba-2.
 */

import { activate } from "../../kernels/reference.ts";
import type {
  DeltaNetSpec,
  MambaSpec,
  ModelConfig,
  RecurrentHeads,
  RecurrentSpec,
} from "../model/config.ts";
import { channelsOf, isRecurrent, recurrentOf, stateFloats } from "../model/mixers.ts";
import { matmul } from "./matmul.ts";
import type { RecurrentWeights } from "./weights.ts";

/**
 * Added to the sum of squares of a query or key before the vector is divided by its square root.
 */
const EPSILON = 1e-6;

/** The state of a slot's sequence in a layer. */
interface State {
  /** [taps - 1, channels]: the last inputs of the convolution, the oldest first. */
  readonly convolution: Float64Array;
  /** [valueHeads, valueDim, keyDim]. */
  readonly matrices: Float64Array;
}

/** An input token of a layer with a state. */
export interface StatefulToken {
  readonly position: number;
  /** The slot of its sequence. */
  readonly slot: number;
}

/** Runs the layers with states of a model. It owns the states and the buffers. */
export class RecurrentLayers {
  readonly #states: readonly (readonly State[] | undefined)[]; // by layer and slot
  readonly #inputs: Float64Array; // [tokens, channels]
  readonly #gate: Float64Array; // [tokens, valueHeads, valueDim]
  readonly #step: Float64Array; // [tokens, valueHeads]
  readonly #strength: Float64Array; // [tokens, valueHeads]
  readonly #mixed: Float64Array; // [tokens, valueHeads, valueDim]

  constructor(
    readonly config: ModelConfig,
    { maxTokens, slots }: { readonly maxTokens: number; readonly slots: number },
  ) {
    const specs = recurrentOf(config.layers);
    const buffer = (width: (spec: RecurrentHeads) => number) =>
      new Float64Array(maxTokens * Math.max(0, ...specs.map(width)));
    const values = ({ valueHeads, valueDim }: RecurrentHeads) => valueHeads * valueDim;
    this.#inputs = buffer(channelsOf);
    this.#gate = buffer(values);
    this.#step = buffer(({ valueHeads }) => valueHeads);
    this.#strength = buffer(({ valueHeads }) => valueHeads);
    this.#mixed = buffer(values);
    this.#states = config.layers.map(({ mixer }) => {
      if (!isRecurrent(mixer)) return undefined;
      const { convolution, matrices } = stateFloats(mixer);
      return Array.from({ length: slots }, () => ({
        convolution: new Float64Array(convolution),
        matrices: new Float64Array(matrices),
      }));
    });
  }

  /**
   * Computes out = output · norm(the heads' outputs) for the tokens of a batch. The tokens of a
   * sequence must be in order. A sequence that starts at position 0 starts with a state of zeros.
   * Pauses as matmul() does.
   *
   * @param layer index of the layer
   * @param x [tokens, dim]
   * @param out [tokens, dim]
   */
  *run(
    layer: number,
    weights: RecurrentWeights,
    { tokens, x, out }: {
      readonly tokens: readonly StatefulToken[];
      readonly x: Float64Array;
      readonly out: Float64Array;
    },
  ): Generator<void, void> {
    const spec = this.config.layers[layer]!.mixer as RecurrentSpec;
    const count = tokens.length;
    yield* matmul(weights.inputs, { x, tokens: count, out: this.#inputs });
    yield* matmul(weights.gate, { x, tokens: count, out: this.#gate });
    yield* matmul(weights.step, { x, tokens: count, out: this.#step, bias: weights.stepBias });
    if (weights.strength) {
      yield* matmul(weights.strength, { x, tokens: count, out: this.#strength });
    }
    for (const [t, { position, slot }] of tokens.entries()) {
      const state = this.#states[layer]![slot]!;
      if (position === 0) {
        state.convolution.fill(0);
        state.matrices.fill(0);
      }
      this.#convolve(spec, weights, { t, state });
      for (let head = 0; head < spec.valueHeads; head++) {
        if (spec.kind === "mamba") this.#scan(spec, weights, { t, head, state });
        else this.#change(spec, weights, { t, head, state });
      }
      this.#finish(spec, weights, t);
      yield;
    }
    yield* matmul(weights.output, { x: this.#mixed, tokens: count, out });
  }

  /** Applies the convolution over the last tokens, and silu, in place. */
  #convolve(
    spec: RecurrentHeads,
    { convolution: weights, convolutionBias: bias }: RecurrentWeights,
    { t, state: { convolution: past } }: { readonly t: number; readonly state: State },
  ): void {
    const { taps } = spec;
    const channels = channelsOf(spec);
    for (let c = 0; c < channels; c++) {
      const x = this.#inputs[t * channels + c]!;
      let sum = (bias?.[c] ?? 0) + weights[c * taps + taps - 1]! * x;
      for (let tap = 0; tap < taps - 1; tap++) {
        sum += weights[c * taps + tap]! * past[tap * channels + c]!;
      }
      for (let tap = 0; tap < taps - 2; tap++) {
        past[tap * channels + c] = past[(tap + 1) * channels + c]!;
      }
      past[(taps - 2) * channels + c] = x;
      this.#inputs[t * channels + c] = activate(sum, "silu");
    }
  }

  /** Updates the matrix of one head with a token by the delta rule, and reads it. */
  #change(
    spec: DeltaNetSpec,
    { decay }: RecurrentWeights,
    { t, head, state: { matrices } }: {
      readonly t: number;
      readonly head: number;
      readonly state: State;
    },
  ): void {
    const { keyHeads, valueHeads, keyDim, valueDim, tiled } = spec;
    const keyHead = tiled ? head % keyHeads : Math.floor(head * keyHeads / valueHeads);
    const start = t * channelsOf(spec);
    const inputs = this.#inputs;
    const q = start + keyHead * keyDim;
    const k = q + keyHeads * keyDim;
    const v = start + 2 * keyHeads * keyDim + head * valueDim;
    const queryScale = 1 / Math.sqrt((squares(inputs, q, keyDim) + EPSILON) * keyDim);
    const keyScale = 1 / Math.sqrt(squares(inputs, k, keyDim) + EPSILON);
    const step = Math.log1p(Math.exp(this.#step[t * valueHeads + head]!));
    const keep = Math.exp(decay[head]! * step);
    const strength = 1 / (1 + Math.exp(-this.#strength[t * valueHeads + head]!));
    for (let row = 0; row < valueDim; row++) {
      const at = (head * valueDim + row) * keyDim;
      let known = 0;
      for (let i = 0; i < keyDim; i++) {
        const kept = matrices[at + i]! * keep;
        matrices[at + i] = kept;
        known += kept * inputs[k + i]!;
      }
      const change = (inputs[v + row]! - known * keyScale) * strength * keyScale;
      let read = 0;
      for (let i = 0; i < keyDim; i++) {
        const changed = matrices[at + i]! + change * inputs[k + i]!;
        matrices[at + i] = changed;
        read += changed * inputs[q + i]!;
      }
      this.#mixed[(t * valueHeads + head) * valueDim + row] = read * queryScale;
    }
  }

  /** Does the same for Mamba. */
  #scan(
    { keyHeads, valueHeads, keyDim, valueDim }: MambaSpec,
    { decay, skip }: RecurrentWeights,
    { t, head, state: { matrices } }: {
      readonly t: number;
      readonly head: number;
      readonly state: State;
    },
  ): void {
    const values = valueHeads * valueDim;
    const start = t * (values + 2 * keyHeads * keyDim);
    const inputs = this.#inputs;
    const v = start + head * valueDim;
    const k = start + values + Math.floor(head * keyHeads / valueHeads) * keyDim;
    const q = k + keyHeads * keyDim;
    const step = Math.log1p(Math.exp(this.#step[t * valueHeads + head]!));
    const keep = Math.exp(decay[head]! * step);
    for (let row = 0; row < valueDim; row++) {
      const at = (head * valueDim + row) * keyDim;
      const value = inputs[v + row]!;
      let read = 0;
      for (let i = 0; i < keyDim; i++) {
        const changed = matrices[at + i]! * keep + step * value * inputs[k + i]!;
        matrices[at + i] = changed;
        read += changed * inputs[q + i]!;
      }
      this.#mixed[t * values + head * valueDim + row] = read + skip![head]! * value;
    }
  }

  /**
   * Applies RMSNorm to the output of each head of a token, and multiplies by silu of its gates. For
   * Mamba, it multiplies by silu of the gates first and normalizes groups of heads.
   */
  #finish(spec: RecurrentSpec, { norm }: RecurrentWeights, t: number): void {
    const isMamba = spec.kind === "mamba";
    const values = spec.valueHeads * spec.valueDim;
    const width = isMamba ? values / spec.keyHeads : spec.valueDim;
    const mixed = this.#mixed.subarray(t * values, (t + 1) * values);
    const gate = (i: number) => activate(this.#gate[t * values + i]!, "silu");
    if (isMamba) { for (let i = 0; i < values; i++) mixed[i]! *= gate(i); }
    for (let at = 0; at < values; at += width) {
      const mean = squares(mixed, at, width) / width;
      const scale = 1 / Math.sqrt(mean + this.config.rmsEpsilon);
      for (let i = at; i < at + width; i++) {
        mixed[i]! *= scale * (isMamba ? norm[i]! : norm[i - at]! * gate(i));
      }
    }
  }
}

function squares(x: Float64Array, from: number, count: number): number {
  let sum = 0;
  for (let i = from; i < from + count; i++) sum += x[i]! * x[i]!;
  return sum;
}
