/** Kernels are tested against the reference, so the reference is tested on cases done by hand. */

import assert from "node:assert/strict";
import {
  argmax,
  attention,
  embed,
  gatedMul,
  matmul,
  type PackedMatrix,
  rmsNorm,
  rope,
  softmax,
  topExperts,
} from "../../kernels/reference.ts";

function close(actual: Float32Array, expected: readonly number[], tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((e, i) => {
    assert.ok(Math.abs(actual[i]! - e) <= tolerance, `${i}: ${actual[i]} is not ${e}`);
  });
}

function dense(rows: number, cols: number, values: readonly number[]): PackedMatrix {
  return { type: "F32", rows, cols, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** One Q4_0 row of 32: d = 0.5, quants 0, 1, … 15, 0, 1, … 15, so weights −4, −3.5, … 3.5 twice. */
function q4Row(): PackedMatrix {
  const bytes = Uint8Array.from({ length: 18 }, (_, i) => i < 2 ? [0x00, 0x38][i]! : (i - 2) * 17);
  return { type: "Q4_0", rows: 1, cols: 32, bytes };
}

Deno.test("rmsNorm() divides by the root mean square, epsilon inside the root", () => {
  // Mean squares 12.5 and 2.5.
  const x = Float32Array.of(3, 4, 1, -2);
  close(rmsNorm(x, Float32Array.of(1, 2), 0), [
    3 / Math.sqrt(12.5),
    8 / Math.sqrt(12.5),
    1 / Math.sqrt(2.5),
    -4 / Math.sqrt(2.5),
  ]);
  close(rmsNorm(Float32Array.of(0, 3), Float32Array.of(1, 1), 4.5), [0, 1]);
});

Deno.test("rope() rotates neighbours in the interleaved layout and halves in the other", () => {
  // At position 1 pair 0 rotates by 90°, pair 1 by 180°; the last two dimensions are not rotated.
  const shape = { headDim: 6, frequencies: [Math.PI / 2, Math.PI], magnitude: 1 };
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);
  close(rope(x, [1], { ...shape, layout: "interleaved" }), [-2, 1, -3, -4, 5, 6]);
  close(rope(x, [1], { ...shape, layout: "half" }), [-3, -2, 1, -4, 5, 6]);
  close(rope(x, [1], { ...shape, magnitude: 2, layout: "half" }), [-6, -4, 2, -8, 5, 6]);
});

Deno.test("rope() rotates every head of a token by the token's position", () => {
  const shape = { headDim: 2, frequencies: [Math.PI / 2], magnitude: 1, layout: "half" } as const;
  const x = Float32Array.of(1, 0, 1, 0, 1, 0, 1, 0); // [2 tokens, 2 heads, 2]
  close(rope(x, [0, 2], shape), [1, 0, 1, 0, -1, 0, -1, 0]);
});

Deno.test("matmul() multiplies rows of weights with tokens and adds the bias", () => {
  const weights = dense(2, 3, [1, 2, 3, 4, 5, 6]);
  const x = Float32Array.of(1, 0, -1, 0.5, 0.5, 0.5);
  close(matmul(weights, x), [-2, -2, 3, 7.5]);
  close(matmul(weights, x, Float32Array.of(10, 20)), [8, 18, 13, 27.5]);
});

Deno.test("matmul() unpacks quantized rows", () => {
  // The row has −4 … 3.5 twice, and each sums to −4. With x = j, the column's index in its half,
  // each half gives 0.5 Σ j(j − 8) = 140.
  close(matmul(q4Row(), new Float32Array(32).fill(1)), [-8]);
  close(matmul(q4Row(), Float32Array.from({ length: 32 }, (_, i) => i % 16)), [280]);
});

Deno.test("gatedMul() gates by silu or gelu", () => {
  // gelu(1) by its tanh approximation, from Hendrycks and Gimpel's formula.
  close(gatedMul(Float32Array.of(0, 1, -1), Float32Array.of(5, 2, 2), "gelu"), [
    0,
    2 * 0.841192,
    -2 * 0.158808,
  ], 1e-5);
  close(gatedMul(Float32Array.of(0, 1, -1, 30), Float32Array.of(5, 2, 2, 1), "silu"), [
    0,
    2 / (1 + Math.exp(-1)),
    -2 / (1 + Math.E),
    30,
  ]);
});

Deno.test("softmax() sums to one and does not overflow", () => {
  close(Float32Array.from(softmax([1000, 1000 + Math.log(3), -1000])), [0.25, 0.75, 0], 1e-5);
});

Deno.test("attention() is causal, scaled, and shares KV heads among query heads", () => {
  const shape = { heads: 2, kvHeads: 1, headDim: 4, scale: 1 / 2 };
  // Scores are q·k / 2: head 0 scores 0 and ln 3 for positions 0 and 1, head 1 the same reversed.
  const k = Float32Array.of(0, 0, 0, 0, 2 * Math.log(3), 0, 0, 0);
  const v = Float32Array.of(4, 0, 0, 1, 0, 8, 0, 1);
  const q = Float32Array.of(1, 9, 9, 9, -1, 9, 9, 9);
  close(attention({ q, positions: [1], k, v }, shape), [1, 6, 0, 1, 3, 2, 0, 1], 1e-5);
  close(attention({ q, positions: [0], k, v }, shape), [4, 0, 0, 1, 4, 0, 0, 1]);
  // With a window of one position the result is the value itself; two positions are all there are.
  close(attention({ q, positions: [1], k, v }, { ...shape, window: 1 }), [0, 8, 0, 1, 0, 8, 0, 1]);
  const all = attention({ q, positions: [1], k, v }, shape);
  assert.deepEqual(attention({ q, positions: [1], k, v }, { ...shape, window: 2 }), all);
});

Deno.test("attention() uses a separate KV head for each group of query heads", () => {
  const shape = { heads: 4, kvHeads: 2, headDim: 2, scale: Math.SQRT1_2 };
  const v = Float32Array.of(1, 2, 3, 4);
  close(attention({ q: new Float32Array(8), positions: [0], k: new Float32Array(4), v }, shape), [
    1,
    2,
    1,
    2,
    3,
    4,
    3,
    4,
  ]);
});

Deno.test("embed() gathers rows in the order of the ids", () => {
  close(embed(dense(3, 2, [1, 2, 3, 4, 5, 6]), [2, 0, 2]), [5, 6, 1, 2, 5, 6]);
});

Deno.test("argmax() returns the first of equal maxima, and never a NaN", () => {
  assert.equal(argmax(Float32Array.of(1, 3, NaN, 3)), 1);
  assert.equal(argmax(Float32Array.of(-Infinity, -Infinity)), 0);
});

Deno.test("topExperts() picks the largest logits, the first of equal ones, and computes their weights", () => {
  // e^logit: 1, 4, 2, 4, 1.
  const logits = Float32Array.from([0, Math.log(4), Math.log(2), Math.log(4), 0]);
  const over = (total: number) => [4, 4, 2, 1].map((share) => share / total);
  for (const [normalized, total] of [[true, 11], [false, 12]] as const) {
    const chosen = topExperts(logits, { count: 4, normalized });
    assert.deepEqual(chosen.map(({ expert }) => expert), [1, 3, 2, 0]);
    close(Float32Array.from(chosen, ({ weight }) => weight), over(total));
  }
});
