/**
 * Activations times packed weights. Each result is one sum in order of the column, however many
 * tokens there are, so a token's results do not depend on what it is batched with. Weights are
 * float32, products and sums doubles: a JS engine's float32 arithmetic is half as fast.
 */

import { UNPACK } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { ROW_DOTS } from "./row_dots.ts";

/** Rows unpacked at a time, and tokens that share each load of their weights. */
const TILE = 4;

/** Products of a weight and an activation between pauses: some 10 ms. */
const PAUSE_WORK = 2 ** 23;
/** What unpacking a weight takes at most, in such products. */
const UNPACK_WORK = 3;

/** Memory that `matmul` unpacks to, for matrices of up to `cols` columns. */
export function matmulScratch(cols: number): Float32Array {
  return new Float32Array(TILE * cols);
}

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

/**
 * out = x · weightsᵀ (+ bias). Pauses every few milliseconds, and at least once.
 *
 * @param scratch from {@linkcode matmulScratch}
 */
export function* matmul(
  weights: PackedMatrix,
  operands: MatmulOperands,
  scratch: Float32Array,
): Generator<void, void> {
  const { tokens, out, bias } = operands;
  const { rows, cols } = weights;
  const tiles = Math.floor(PAUSE_WORK / (TILE * cols * (tokens + UNPACK_WORK)));
  const step = TILE * Math.max(1, tiles);
  for (let row = 0; row < rows; row += step) {
    multiplyRows(weights, [row, Math.min(rows, row + step)], { ...operands, scratch });
    yield;
  }
  if (bias === undefined) return;
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < rows; i++) out[token * rows + i]! += bias[i]!;
  }
}

/** The results of rows `from` to `end`. */
function multiplyRows(
  { type, rows, cols, bytes }: PackedMatrix,
  [from, end]: readonly [number, number],
  { x, tokens, out, scratch }: MatmulOperands & { readonly scratch: Float32Array },
): void {
  const rowBytes = packedBytes(type, cols);
  const unpack = UNPACK[type];
  const rowDots = tokens === 1 ? ROW_DOTS[type] : undefined;
  let row = from;
  if (rowDots !== undefined) {
    for (; row + 2 <= end; row += 2) rowDots({ bytes, rowBytes, cols, row }, x, out);
  } else {
    const tile = { w: scratch, x, cols, out, rows };
    const lanes = Array.from({ length: TILE }, (_, i) => scratch.subarray(i * cols));
    for (; row + TILE <= end; row += TILE) {
      for (let i = 0; i < TILE; i++) unpack(bytes.subarray((row + i) * rowBytes), lanes[i]!, cols);
      let token = 0;
      for (; token + TILE <= tokens; token += TILE) {
        fourByFour(tile, token, row);
      }
      for (; token < tokens; token++) fourByOne(tile, token, row);
    }
  }
  for (; row < end; row++) {
    unpack(bytes.subarray(row * rowBytes), scratch, cols);
    for (let token = 0; token < tokens; token++) {
      let sum = 0;
      for (let i = 0; i < cols; i++) sum += scratch[i]! * x[token * cols + i]!;
      out[token * rows + row] = sum;
    }
  }
}

/** Four unpacked rows, and what they are multiplied with. */
interface Tile {
  /** [TILE, cols] */
  readonly w: Float32Array;
  /** [tokens, cols] */
  readonly x: Float64Array;
  readonly cols: number;
  /** [tokens, rows] */
  readonly out: Float64Array;
  readonly rows: number;
}

/** Four rows, from `row` on, times one token. */
function fourByOne({ w, x, cols, out, rows }: Tile, token: number, row: number): void {
  const from = token * cols;
  let a = 0, b = 0, c = 0, d = 0;
  for (let i = 0; i < cols; i++) {
    const v = x[from + i]!;
    a += w[i]! * v;
    b += w[cols + i]! * v;
    c += w[2 * cols + i]! * v;
    d += w[3 * cols + i]! * v;
  }
  const to = token * rows + row;
  out[to] = a;
  out[to + 1] = b;
  out[to + 2] = c;
  out[to + 3] = d;
}

/** Four rows, from `row` on, times four tokens. */
function fourByFour({ w, x, cols, out, rows }: Tile, token: number, row: number): void {
  const x0 = token * cols, x1 = x0 + cols, x2 = x1 + cols, x3 = x2 + cols;
  const w1 = cols, w2 = 2 * cols, w3 = 3 * cols;
  let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
  for (let i = 0; i < cols; i++) {
    const p = w[i]!, q = w[w1 + i]!, r = w[w2 + i]!, s = w[w3 + i]!;
    const t = x[x0 + i]!, u = x[x1 + i]!, v = x[x2 + i]!, z = x[x3 + i]!;
    a0 += p * t;
    a1 += q * t;
    a2 += r * t;
    a3 += s * t;
    b0 += p * u;
    b1 += q * u;
    b2 += r * u;
    b3 += s * u;
    c0 += p * v;
    c1 += q * v;
    c2 += r * v;
    c3 += s * v;
    d0 += p * z;
    d1 += q * z;
    d2 += r * z;
    d3 += s * z;
  }
  const y0 = token * rows + row, y1 = y0 + rows, y2 = y1 + rows, y3 = y2 + rows;
  out[y0] = a0;
  out[y0 + 1] = a1;
  out[y0 + 2] = a2;
  out[y0 + 3] = a3;
  out[y1] = b0;
  out[y1 + 1] = b1;
  out[y1 + 2] = b2;
  out[y1 + 3] = b3;
  out[y2] = c0;
  out[y2 + 1] = c1;
  out[y2 + 2] = c2;
  out[y2 + 3] = c3;
  out[y3] = d0;
  out[y3 + 1] = d1;
  out[y3 + 2] = d2;
  out[y3 + 3] = d3;
}
