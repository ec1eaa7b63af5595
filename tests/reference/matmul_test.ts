import assert from "node:assert/strict";
import { matmul } from "../../engine/reference/matmul.ts";
import { RandomSource, randomWeights } from "../../engine/files/random_weights.ts";
import { matmul as reference, type PackedMatrix } from "../../kernels/reference.ts";
import { GROUP_LAYOUT, packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { assertAllClose } from "../assert.ts";

const TYPES = Object.keys(GROUP_LAYOUT) as TensorType[];
const TOKENS = 6;

/** Groups with extreme scales: subnormal, the largest, zero, and minima far larger than steps. */
const VECTORS: Record<string, { blocks: string }> = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/goldens/dequantize.json", import.meta.url)),
);

function randomTokens(cols: number, random: RandomSource): Float32Array {
  return Float32Array.from({ length: TOKENS * cols }, () => random.bell());
}

/** Returns the results of all tokens together. Asserts that each token alone gets the same bits. */
function product(weights: PackedMatrix, x: Float32Array, bias?: Float32Array): Float64Array {
  const { rows, cols } = weights;
  const wide = Float64Array.from(x);
  const together = new Float64Array(TOKENS * rows);
  for (const _ of matmul(weights, { x: wide, tokens: TOKENS, out: together, bias }));
  for (let token = 0; token < TOKENS; token++) {
    const alone = new Float64Array(rows);
    for (
      const _ of matmul(
        weights,
        { x: wide.subarray(token * cols), tokens: 1, out: alone, bias },
      )
    );
    assert.deepEqual(alone, together.subarray(token * rows, (token + 1) * rows));
  }
  return together;
}

for (const type of TYPES) {
  Deno.test(`matmul() of ${type} matches the reference, and is bit-identical for one token and several`, () => {
    const random = new RandomSource(3, type);
    const cols = 2 * Math.max(32, GROUP_LAYOUT[type].weights);
    for (const rows of [1, 2, 7, 8]) {
      const bytes = randomWeights(type, rows * cols, { random, deviation: 0.1 });
      const weights = { type, rows, cols, bytes };
      const x = randomTokens(cols, random);
      const bias = Float32Array.from({ length: rows }, () => random.bell());
      const expected = reference(weights, x, bias);
      assertAllClose(product(weights, x, bias), expected, { absolute: 1e-6, relative: 1e-6 });
    }
  });

  Deno.test(`matmul() of ${type} rounds extreme weights alike for one token and several`, () => {
    const bytes = Uint8Array.fromBase64(VECTORS[type]!.blocks);
    const cols = GROUP_LAYOUT[type].weights;
    const rowBytes = packedBytes(type, cols);
    const x = randomTokens(cols, new RandomSource(4, type));
    // Each row is once the first and once the second of a pair.
    const swapped = Uint8Array.of(...bytes.subarray(rowBytes), ...bytes.subarray(0, rowBytes));
    for (const order of [bytes, swapped]) {
      product({ type, rows: bytes.length / rowBytes, cols, bytes: order }, x);
    }
  });
}

Deno.test("matmul() pauses within a large product, whose results match the reference", () => {
  const random = new RandomSource(5, "pauses");
  const [rows, cols] = [9_999, 256];
  const bytes = randomWeights("Q8_0", rows * cols, { random, deviation: 0.1 });
  const weights = { type: "Q8_0", rows, cols, bytes } as const;
  const x = randomTokens(cols, random);
  const bias = Float32Array.from({ length: rows }, () => random.bell());
  const out = new Float64Array(TOKENS * rows);
  const all = matmul(
    weights,
    { x: Float64Array.from(x), tokens: TOKENS, out, bias },
  );
  const pauses = [...all].length;
  assert.ok(rows * cols * TOKENS / pauses <= 2 ** 23, `${pauses} pauses`);
  assertAllClose(out, reference(weights, x, bias), { absolute: 1e-6, relative: 1e-6 });
});
