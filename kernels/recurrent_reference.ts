/**
 * References for the kernels of gated delta nets and Mamba, in plain TypeScript. Each function
 * processes one sequence.
 */

import { activate } from "./reference.ts";

/**
 * Computes silu(Σ weight · x + bias) over the last `taps` tokens, channel by channel.
 *
 * @param x [tokens, channels]
 * @param options.weights [channels, taps], the newest token's weight last
 * @param options.bias [channels]
 * @param past [taps − 1, channels]: the inputs before `x`, oldest first; updated in place to the
 *   last inputs, `x` included
 * @returns [tokens, channels]
 */
export function convolve(
  x: Float32Array,
  { weights, bias }: { readonly weights: Float32Array; readonly bias?: Float32Array | undefined },
  past: Float32Array,
): Float32Array {
  const channels = weights.length - past.length;
  const taps = weights.length / channels;
  const all = Float32Array.from([...past, ...x]);
  past.set(all.subarray(all.length - past.length));
  return x.map((_, i) => {
    const channel = i % channels;
    let sum = bias?.[channel] ?? 0;
    for (let tap = 0; tap < taps; tap++) {
      sum += weights[channel * taps + tap]! * all[i + tap * channels]!;
    }
    return activate(sum, "silu");
  });
}

/** The heads of a layer with recurrent states, and their inputs. */
interface StateInputs {
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** [tokens, queries + keys + values], for Mamba [tokens, values + keys + queries]. */
  readonly inputs: Float32Array;
  /** [tokens, valueHeads] */
  readonly steps: Float32Array;
  /** [valueHeads] */
  readonly decays: Float32Array;
}

/** The heads and inputs of a gated delta net. */
export interface DeltaInputs extends StateInputs {
  /** Whether value head h uses key head h mod keyHeads; otherwise runs of value heads share one. */
  readonly tiled: boolean;
  /** [tokens, valueHeads] */
  readonly strengths: Float32Array;
}

/** The heads and inputs of Mamba. */
export interface MambaInputs extends StateInputs {
  /** [valueHeads] */
  readonly skips: Float32Array;
}

/**
 * Updates S ← keep · S + strength · (v − keep · S · k) kᵀ and returns S · q, for each token and
 * head. k and q are normalized to length 1, and q is then divided by √keyDim.
 *
 * @param states [valueHeads, valueDim, keyDim], updated in place
 * @returns [tokens, valueHeads, valueDim]
 */
export function deltaRule(net: DeltaInputs, states: Float64Array): Float32Array {
  const { keyHeads, valueHeads, keyDim, valueDim, tiled, inputs, steps, strengths, decays } = net;
  const width = 2 * keyHeads * keyDim + valueHeads * valueDim;
  const out = new Float32Array(steps.length * valueDim);
  for (let at = 0; at < steps.length; at++) {
    const [token, head] = [Math.floor(at / valueHeads), at % valueHeads];
    const keyHead = tiled ? head % keyHeads : Math.floor(head / (valueHeads / keyHeads));
    const row = inputs.subarray(token * width, (token + 1) * width);
    const q = unit(row.subarray(keyHead * keyDim, (keyHead + 1) * keyDim));
    const k = unit(row.subarray((keyHeads + keyHead) * keyDim, (keyHeads + keyHead + 1) * keyDim));
    const v = row.subarray(2 * keyHeads * keyDim + head * valueDim);
    const keep = Math.exp(decays[head]! * Math.log1p(Math.exp(steps[at]!)));
    const strength = 1 / (1 + Math.exp(-strengths[at]!));
    for (let i = 0; i < valueDim; i++) {
      const from = (head * valueDim + i) * keyDim;
      const state = states.subarray(from, from + keyDim);
      for (let j = 0; j < keyDim; j++) state[j]! *= keep;
      const change = strength * (v[i]! - dot(state, k));
      for (let j = 0; j < keyDim; j++) state[j]! += change * k[j]!;
      out[at * valueDim + i] = dot(state, q) / Math.sqrt(keyDim);
    }
  }
  return out;
}

/**
 * Updates S ← keep · S + step · v kᵀ and returns S · q + skip · v, for each token and head.
 *
 * @param states [valueHeads, valueDim, keyDim], updated in place
 * @returns [tokens, valueHeads, valueDim]
 */
export function mambaScan(net: MambaInputs, states: Float64Array): Float32Array {
  const { keyHeads, valueHeads, keyDim, valueDim, inputs, steps, decays, skips } = net;
  const values = valueHeads * valueDim;
  const width = values + 2 * keyHeads * keyDim;
  const out = new Float32Array(steps.length * valueDim);
  for (let at = 0; at < steps.length; at++) {
    const [token, head] = [Math.floor(at / valueHeads), at % valueHeads];
    const keyHead = Math.floor(head / (valueHeads / keyHeads));
    const row = inputs.subarray(token * width, (token + 1) * width);
    const k = row.subarray(values + keyHead * keyDim, values + (keyHead + 1) * keyDim);
    const q = row.subarray(values + (keyHeads + keyHead) * keyDim);
    const step = Math.log1p(Math.exp(steps[at]!));
    const keep = Math.exp(decays[head]! * step);
    for (let i = 0; i < valueDim; i++) {
      const from = (head * valueDim + i) * keyDim;
      const state = states.subarray(from, from + keyDim);
      const v = row[head * valueDim + i]!;
      for (let j = 0; j < keyDim; j++) state[j] = state[j]! * keep + step * v * k[j]!;
      out[at * valueDim + i] = dot(q, state) + skips[head]! * v;
    }
  }
  return out;
}

function unit(x: Float32Array): Float64Array {
  const length = Math.sqrt(dot(x, x) + 1e-6);
  return Float64Array.from(x, (value) => value / length);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
