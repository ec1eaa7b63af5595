/** Compares matrix products and embedding rows on the device with kernels/reference.ts. */

import {
  activate,
  matmul,
  matrixRow,
  type PackedMatrix,
  rmsNorm,
} from "../../../kernels/reference.ts";
import type { TensorType } from "../../../kernels/tensor_types.ts";
import { RandomSource, randomWeights } from "../../files/random_weights.ts";
import { allocateMatrix, type DeviceMatrix, UploadMemory } from "../matrix.ts";
import type { Batch } from "../../run/runner.ts";
import { type KernelHarness, memoryFile, type MemoryTensor, plainBatch } from "./kernel_harness.ts";

/** A matrix product to check. */
export interface ProductCase {
  readonly type: TensorType;
  readonly rows: number;
  readonly columns: number;
  readonly tokens: number;
  readonly norm?: boolean;
  readonly bias?: boolean;
  readonly accumulate?: boolean;
  /** Gates and ups in one matrix ("both"), or ups whose gates are in y ("ups"). */
  readonly gate?: "both" | "ups";
  /** Activation of the gates; default silu. */
  readonly activation?: "silu" | "gelu";
  /**
   * If set, the tokens form this many sequences, and the product runs only over the last token of
   * each.
   */
  readonly gather?: number;
}

const EPSILON = 1e-5;

/**
 * Returns the error of the device's product against the reference: the largest error of an element
 * in units of Σ|w·x| (plus the magnitude of what is added to it). It is Infinity if anything
 * outside the product was overwritten.
 *
 * A float32 sum of n products has an error of at most about n·2⁻²⁴·Σ|w·x| (Higham, Accuracy and
 * Stability of Numerical Algorithms, 2nd ed., section 3.1), usually about √n·2⁻²⁴.
 */
export async function productError(harness: KernelHarness, c: ProductCase): Promise<number> {
  const random = new RandomSource(1, JSON.stringify(c));
  const { x, device, gates, ups } = makeMatrix(harness, c, random);
  const normWeight = floats(c.columns, random);
  const bias = floats(c.rows, random);
  const outputs = c.gate === "both" ? c.rows / 2 : c.rows;
  // The stride exceeds the row, and the offset is not 0, so that writing past a row is detected.
  const stride = outputs + 3;
  const batch = batchOf(c);
  const taken = takenTokens(c);
  const before = floats(taken.length * stride, random);
  const y = harness.buffer(before);
  const [result] = await harness.run(batch, (counts) => {
    const operations = harness.build({ rmsEpsilon: EPSILON }).matmul(device, {
      x: harness.buffer(x),
      y,
      stride,
      offset: 2,
      over: c.gather === undefined ? "tokens" : "logits",
      ...(c.norm && { norm: harness.buffer(normWeight) }),
      ...(c.bias && { bias: harness.buffer(bias) }),
      ...(c.accumulate && { accumulate: true }),
      ...(c.gate && { gate: c.gate }),
      ...(c.activation && { activation: c.activation }),
    });
    const count = c.gather === undefined ? counts.tokens : counts.logits;
    return operations.map((operation) => operation.at(count, counts.attentionParts));
  }, [y]);
  harness.free(device);

  const inputs = Float32Array.from(taken.flatMap((token) => [...row(x, token, c.columns)]));
  const normed = c.norm ? rmsNorm(inputs, normWeight, EPSILON) : inputs;
  const product = matmul(ups, normed);
  const size = magnitudes(ups, normed);
  const gate = gates && matmul(gates, normed);
  const gateSize = gates && magnitudes(gates, normed);
  const actual = new Float32Array(result!);
  const act = (v: number) => activate(v, c.activation ?? "silu");
  let worst = 0;
  for (let i = 0; i < before.length; i++) {
    const r = i % stride - 2;
    if (r < 0 || r >= outputs) {
      if (actual[i] !== before[i]) return Infinity;
      continue;
    }
    const at = Math.floor(i / stride) * outputs + r;
    let expected = product[at]!;
    let unit = size[at]!;
    if (gate && gateSize) {
      const g = act(gate[at]!);
      // The slope of silu is at most 1.1, that of gelu 1.13.
      unit = 1.13 * gateSize[at]! * Math.abs(expected) + Math.abs(g) * unit;
      expected *= g;
    }
    if (c.bias) {
      expected += bias[r]!;
      unit += Math.abs(bias[r]!);
    }
    if (c.accumulate) {
      expected += before[i]!;
      unit += Math.abs(before[i]!);
    }
    if (c.gate === "ups") {
      expected *= act(before[i]!);
      unit *= Math.abs(act(before[i]!));
    }
    worst = maxError(worst, Math.abs(actual[i]! - expected) / unit);
  }
  return worst;
}

/** Returns the error of embedding rows of a type, in units of each row's largest weight. */
export async function embedError(
  harness: KernelHarness,
  { type, rows, columns, ids, scale }: {
    type: TensorType;
    rows: number;
    columns: number;
    ids: readonly number[];
    scale: number;
  },
): Promise<number> {
  const random = new RandomSource(2, type);
  const tensor = randomTensor("embedding", { type, rows, columns }, random);
  const matrix = upload(harness, [tensor]);
  const [result] = await harness.run(
    plainBatch(ids.length, { tokens: ids }),
    (counts) =>
      harness.build({ dim: columns }).embed(matrix, scale).map((part) =>
        part.at(counts.tokens, counts.attentionParts)
      ),
    [harness.scratch.hidden],
  );
  harness.free(matrix);
  const actual = new Float32Array(result!, 0, ids.length * columns);
  let worst = 0;
  for (const [token, id] of ids.entries()) {
    const expected = matrixRow(packed(tensor), id).map((w) => w * scale);
    const unit = expected.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
    for (const [i, w] of expected.entries()) {
      worst = maxError(worst, Math.abs(actual[token * columns + i]! - w) / unit);
    }
  }
  return worst;
}

/** Returns the larger of two errors; NaN counts as Infinity. */
export function maxError(a: number, b: number): number {
  return Number.isNaN(b) ? Infinity : Math.max(a, b);
}

/** Returns random numbers around 0. */
export function floats(count: number, random: RandomSource): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, () => random.bell());
}

function makeMatrix(harness: KernelHarness, c: ProductCase, random: RandomSource) {
  const x = floats(c.tokens * c.columns, random);
  const tensors = c.gate === "both"
    ? ["gates", "ups"].map((n) => randomTensor(n, { ...c, rows: c.rows / 2 }, random))
    : [randomTensor("matrix", c, random)];
  const device = upload(harness, tensors, c.gate === "both");
  return {
    x,
    device,
    gates: c.gate === "both" ? packed(tensors[0]!) : undefined,
    ups: packed(tensors.at(-1)!),
  };
}

/**
 * Returns a random matrix in memory, scaled so that its products with numbers around 1 are around
 * 1.
 */
export function randomTensor(
  name: string,
  { type, rows, columns }: Pick<ProductCase, "type" | "rows" | "columns">,
  random: RandomSource,
): MemoryTensor {
  const bytes = randomWeights(type, rows * columns, { random, deviation: 1 / Math.sqrt(columns) });
  const info = { name, type, shape: [rows, columns], file: 0, byteOffset: 0 };
  return { info: { ...info, byteLength: bytes.length }, bytes };
}

/** Uploads tensors as one matrix, with the harness's tuning and limits. */
export function upload(
  harness: KernelHarness,
  tensors: readonly MemoryTensor[],
  interleaved = false,
): DeviceMatrix {
  const { gpu, uploader, tuning: { tile } } = harness;
  const source = { file: memoryFile(tensors), tensors: tensors.map(({ info }) => info) };
  const { matrix, fill } = allocateMatrix(gpu, source, { tile, interleaved });
  for (const _ of fill(uploader, new UploadMemory()));
  return matrix;
}

function packed({ info, bytes }: MemoryTensor): PackedMatrix {
  return { type: info.type, rows: info.shape[0]!, cols: info.shape[1]!, bytes };
}

// Returns the lengths of the `gather` sequences; the first ones may be one token longer.
function lengths({ tokens, gather = 1 }: ProductCase): number[] {
  const short = Math.floor(tokens / gather);
  return Array.from({ length: gather }, (_, i) => short + (i < tokens % gather ? 1 : 0));
}

function batchOf(c: ProductCase): Batch {
  return {
    sequences: lengths(c).map((length, slot) => ({
      slot,
      start: 0,
      tokens: Array.from({ length }, () => 0),
      blockTables: [[0, 1, 2, 3]],
      logits: "last" as const,
    })),
  };
}

function takenTokens(c: ProductCase): number[] {
  if (c.gather === undefined) return Array.from({ length: c.tokens }, (_, i) => i);
  let end = 0;
  return lengths(c).map((length) => (end += length) - 1);
}

function row(x: Float32Array, i: number, length: number): Float32Array {
  return x.subarray(i * length, (i + 1) * length);
}

/** Returns Σ|w·x| for each product, [tokens, rows]. */
export function magnitudes(weights: PackedMatrix, x: Float32Array): Float32Array {
  const { rows, cols } = weights;
  const tokens = x.length / cols;
  const out = new Float32Array(tokens * rows);
  for (let r = 0; r < rows; r++) {
    const w = matrixRow(weights, r);
    for (let token = 0; token < tokens; token++) {
      let sum = 0;
      for (let i = 0; i < cols; i++) sum += Math.abs(w[i]! * x[token * cols + i]!);
      out[token * rows + r] = sum;
    }
  }
  return out;
}
