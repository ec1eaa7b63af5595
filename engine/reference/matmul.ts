/**
 * Activations times packed weights. Each result is one sum in order of the column, however many
 * tokens there are, so a token's results do not depend on what it is batched with. Weights are
 * float32, products and sums doubles: a JS engine's float32 arithmetic is half as fast.
 */

import { UNPACK } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";

/** Products of a weight and an activation between pauses: some 10 ms. */
const PAUSE_WORK = 2 ** 23;
/** What unpacking a weight takes at most, in such products. */
const UNPACK_WORK = 3;

/** What a product reads and writes. */
export interface MatmulOperands {
  /** [tokens, cols] */
  readonly x: Float64Array;
  readonly tokens: number;
  /** [tokens, rows] */
  readonly out: Float64Array;
  /** [rows] */
  readonly bias?: Float32Array | undefined;
}

/** out = x · weightsᵀ (+ bias). Pauses every few milliseconds, and at least once. */
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

/** Apart from the generator, in which loops are slower. */
function dot(weights: Float32Array, x: Float64Array, from: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i]! * x[from + i]!;
  return sum;
}
