/**
 * References for the kernels, written for readability: they sum in float64 and round once to
 * float32 at the end. Tests compare the kernels with them. Arrays are row-major; shapes are in
 * brackets.
 */

import { dequantize } from "./dequantize.ts";
import { packedBytes, type TensorType } from "./tensor_types.ts";

/**
 * Computes x / sqrt(mean(x²) + epsilon) · weight, row by row.
 *
 * @param x [rows, dim]
 * @param weight [dim]
 * @returns [rows, dim]
 */
export function rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number): Float32Array {
  const dim = weight.length;
  const out = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += dim) {
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += x[row + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / dim + epsilon);
    for (let i = 0; i < dim; i++) out[row + i] = x[row + i]! * scale * weight[i]!;
  }
  return out;
}

/** How heads are rotated. */
export interface RopeShape {
  readonly headDim: number;
  /** [pairs]: radians per position. Dimensions beyond 2 · pairs stay unchanged. */
  readonly frequencies: ArrayLike<number>;
  /** Factor of the rotated dimensions. */
  readonly magnitude: number;
  /** The dimensions of pair i: 2i and 2i + 1 (interleaved), or i and pairs + i (half). */
  readonly layout: "interleaved" | "half";
}

/**
 * Rotary position embedding: pair i of a head at position p is rotated by p · frequencies[i].
 * Su et al., RoFormer, https://arxiv.org/abs/2104.09864.
 *
 * @param x [tokens, heads, headDim]
 * @param positions [tokens]
 * @returns [tokens, heads, headDim]
 */
export function rope(
  x: Float32Array,
  positions: readonly number[],
  shape: RopeShape,
): Float32Array {
  const { headDim, frequencies, magnitude, layout } = shape;
  const pairs = frequencies.length;
  const out = x.slice();
  const perToken = x.length / positions.length;
  for (let at = 0; at < x.length; at += headDim) {
    const position = positions[Math.floor(at / perToken)]!;
    for (let i = 0; i < pairs; i++) {
      const angle = position * frequencies[i]!;
      const cos = Math.cos(angle) * magnitude;
      const sin = Math.sin(angle) * magnitude;
      const a = at + (layout === "half" ? i : 2 * i);
      const b = layout === "half" ? a + pairs : a + 1;
      out[a] = x[a]! * cos - x[b]! * sin;
      out[b] = x[a]! * sin + x[b]! * cos;
    }
  }
  return out;
}

/** A packed weight matrix [rows, cols]; each row is a whole number of groups. */
export interface PackedMatrix {
  readonly type: TensorType;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: Uint8Array;
}

/** Unpacks row `row` of a packed matrix: [cols]. */
export function matrixRow(matrix: PackedMatrix, row: number): Float32Array {
  const rowBytes = packedBytes(matrix.type, matrix.cols);
  const out = new Float32Array(matrix.cols);
  dequantize(matrix.type, matrix.bytes.subarray(row * rowBytes, (row + 1) * rowBytes), out);
  return out;
}

/**
 * Computes x · weightsᵀ (+ bias) with the unpacked weights.
 *
 * @param x [tokens, cols]
 * @param bias [rows]
 * @returns [tokens, rows]
 */
export function matmul(weights: PackedMatrix, x: Float32Array, bias?: Float32Array): Float32Array {
  const { rows, cols } = weights;
  const tokens = x.length / cols;
  const out = new Float32Array(tokens * rows);
  for (let row = 0; row < rows; row++) {
    const w = matrixRow(weights, row);
    for (let token = 0; token < tokens; token++) {
      let sum = bias?.[row] ?? 0;
      for (let i = 0; i < cols; i++) sum += w[i]! * x[token * cols + i]!;
      out[token * rows + row] = sum;
    }
  }
  return out;
}

/** The nonlinearities of feed-forward networks. */
export type Activation = "silu" | "gelu" | "relu2";

/**
 * Computes an activation. relu2: max(x, 0)². silu: x / (1 + e^−x). gelu (tanh approximation):
 * x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))); Hendrycks and Gimpel,
 * https://arxiv.org/abs/1606.08415.
 */
export function activate(x: number, activation: Activation): number {
  if (activation === "relu2") return Math.max(x, 0) ** 2;
  if (activation === "silu") return x / (1 + Math.exp(-x));
  return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** activation(gate) · up, element by element. */
export function gatedMul(
  gate: Float32Array,
  up: Float32Array,
  activation: Activation,
): Float32Array {
  return gate.map((g, i) => activate(g, activation) * up[i]!);
}

/** e^x / Σ e^x. */
export function softmax(x: ArrayLike<number>): Float64Array {
  const all = Float64Array.from(x);
  const max = all.reduce((most, v) => Math.max(most, v), -Infinity);
  const powers = all.map((v) => Math.exp(v - max));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** How a token's experts are chosen and weighted. */
export interface RoutingRule {
  /** Experts per token. */
  readonly count: number;
  /**
   * Whether the scores of the chosen experts are divided by their sum, so that the weights sum to 1
   * or to `sigmoid.scale`. Otherwise the weights are the scores themselves, times `sigmoid.scale`.
   */
  readonly normalized: boolean;
  /**
   * Set if scores are the sigmoids of the logits; experts are then chosen by their score plus
   * `bias` [experts]. If absent, scores are the softmax of all logits.
   */
  readonly sigmoid?: { readonly bias: Float32Array; readonly scale: number };
}

/**
 * Returns a token's experts, best first, and their weights. It chooses the experts with the largest
 * logits, or the largest sigmoids plus biases. Among equals, the lower index comes first.
 *
 * @param logits [experts]
 */
export function topExperts(
  logits: ArrayLike<number>,
  { count, normalized, sigmoid }: RoutingRule,
): { expert: number; weight: number }[] {
  const scores = sigmoid
    ? Float64Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)))
    : softmax(logits);
  const ranks = sigmoid ? scores.map((score, e) => score + sigmoid.bias[e]!) : logits;
  const order = Array.from(scores.keys()).sort((a, b) => ranks[b]! - ranks[a]! || a - b);
  const chosen = order.slice(0, count);
  const total = normalized ? chosen.reduce((sum, e) => sum + scores[e]!, 0) : 1;
  const scale = (sigmoid?.scale ?? 1) / total;
  return chosen.map((expert) => ({ expert, weight: scores[expert]! * scale }));
}

/** Head counts of attention; query head h reads KV head floor(h · kvHeads / heads). */
export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Multiplies q · k. */
  readonly scale: number;
  /** Number of positions that a token attends to, its own included; absent: all. */
  readonly window?: number | undefined;
}

/** Inputs of attention. */
export interface AttentionInput {
  /** [tokens, heads, headDim], rotated. */
  readonly q: Float32Array;
  /** [tokens] */
  readonly positions: readonly number[];
  /** [positions, kvHeads, headDim]: the cache in order of position, rotated. */
  readonly k: Float32Array;
  /** [positions, kvHeads, headDim] */
  readonly v: Float32Array;
}

/**
 * Causal attention: the token at position p attends to positions 0 … p, or the last `window` of
 * them.
 *
 * @returns [tokens, heads, headDim]
 */
export function attention(
  { q, positions, k, v }: AttentionInput,
  { heads, kvHeads, headDim, scale, window = Infinity }: AttentionShape,
): Float32Array {
  const out = new Float32Array(q.length);
  const rowOf = (cache: Float32Array, position: number, head: number): Float32Array => {
    const at = (position * kvHeads + Math.floor(head * kvHeads / heads)) * headDim;
    return cache.subarray(at, at + headDim);
  };
  positions.forEach((position, token) => {
    for (let head = 0; head < heads; head++) {
      const at = (token * heads + head) * headDim;
      const query = q.subarray(at, at + headDim);
      const first = Math.max(0, position + 1 - window);
      const scores = Array.from({ length: position + 1 - first }, (_, p) => {
        const key = rowOf(k, first + p, head);
        return query.reduce((sum, value, i) => sum + value * key[i]!, 0) * scale;
      });
      const max = scores.reduce((most, s) => Math.max(most, s), -Infinity);
      const weights = scores.map((s) => Math.exp(s - max));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let i = 0; i < headDim; i++) {
        const sum = weights.reduce((sum, w, p) => sum + w * rowOf(v, first + p, head)[i]!, 0);
        out[at + i] = sum / total;
      }
    }
  });
  return out;
}

/**
 * Gathers rows of the embedding matrix.
 *
 * @param table [vocabSize, dim]
 * @returns [tokens, dim]
 */
export function embed(table: PackedMatrix, ids: readonly number[]): Float32Array {
  const out = new Float32Array(ids.length * table.cols);
  ids.forEach((id, token) => out.set(matrixRow(table, id), token * table.cols));
  return out;
}

/** Returns the index of the largest value, the first of equals; NaN is never the largest. */
export function argmax(x: Float32Array): number {
  let best = 0;
  let most = -Infinity;
  for (let i = 0; i < x.length; i++) {
    if (x[i]! > most) {
      most = x[i]!;
      best = i;
    }
  }
  return best;
}
