/**
 * Multiplies activations by packed weights. Each result is a single sum in column order, however
 * many tokens there are, so a token's results do not depend on its batch. Weights are float32;
 * products and sums are float64, because float32 arithmetic is half as fast in a JS engine.
 */

import { UNPACK } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";

/** Multiplications between pauses, which take some 10 ms. */
const PAUSE_WORK = 2 ** 23;
/** Maximum cost of unpacking a weight, in multiplications. */
const UNPACK_WORK = 3;

/** The inputs and the output of a product. */
export interface MatmulOperands {
  /** [tokens, cols] */
  readonly x: Float64Array;
  readonly tokens: number;
  /** [tokens, rows] */
  readonly out: Float64Array;
  /** [rows] */
  readonly bias?: Float32Array | undefined;
}

/** Computes out = x · weightsᵀ (+ bias). Pauses every few milliseconds, and at least once. */
export function* matmul(
  { type, rows, cols, bytes }: PackedMatrix,
  { x, tokens, out, bias }: MatmulOperands,
): Generator<void, void> {
  const rowBytes = packedBytes(type, cols);
  const unpack = UNPACK[type];
  const weights = new Float32Array(cols);
  const step = Math.max(1, Math.floor(PAUSE_WORK / (cols * (tokens + UNPACK_WORK))));
  for (let start = 0; start < rows; start += step) {
    for (let row = start; row < Math.min(rows, start + step); row++) {
      unpack(bytes.subarray(row * rowBytes), weights, cols);
      for (let token = 0; token < tokens; token++) {
        out[token * rows + row] = dot(weights, x, token * cols) + (bias?.[row] ?? 0);
      }
    }
    yield;
  }
}

/** Separate from the generator, in which loops are slower. */
function dot(weights: Float32Array, x: Float64Array, from: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i]! * x[from + i]!;
  return sum;
}
