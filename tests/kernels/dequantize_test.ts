import assert from "node:assert/strict";
import { dequantize } from "../../kernels/dequantize.ts";
import { packF16, roundF16, unpackF16 } from "../../kernels/f16.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";

const VECTORS: Record<string, { blocks: string; values: string }> = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/goldens/dequantize.json", import.meta.url)),
);
const TYPES = Object.keys(GROUP_LAYOUT) as TensorType[];

for (const type of TYPES) {
  Deno.test(`dequantize() matches the gguf package bit for bit for ${type}`, () => {
    const vector = VECTORS[type];
    assert.ok(vector, "no golden");
    const packed = Uint8Array.fromBase64(vector.blocks);
    const expected = new Uint32Array(Uint8Array.fromBase64(vector.values).buffer);
    const out = new Float32Array(expected.length);
    dequantize(type, packed, out);
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < bits.length; i++) {
      assert.equal(bits[i], expected[i], `value ${i}: ${out[i]}`);
    }
  });
}

Deno.test("dequantize() reads bytes at any alignment and leaves the rest of its output alone", () => {
  for (const type of TYPES) {
    const { weights, bytes } = GROUP_LAYOUT[type];
    const packed = Uint8Array.fromBase64(VECTORS[type]!.blocks).subarray(0, 2 * bytes);
    const shifted = new Uint8Array(packed.length + 1);
    shifted.set(packed, 1);
    const plain = new Float32Array(2 * weights);
    const out = new Float32Array(3 * weights).fill(7);
    dequantize(type, packed, plain);
    dequantize(type, shifted.subarray(1), out.subarray(weights, 2 * weights));
    assert.deepEqual(out.subarray(weights, 2 * weights), plain.subarray(0, weights), type);
    assert.ok(out.subarray(0, weights).every((v) => v === 7), type);
    assert.ok(out.subarray(2 * weights).every((v) => v === 7), type);
  }
});

Deno.test("dequantize() refuses part of a group and ranges that are too short", () => {
  const group = new Uint8Array(18);
  assert.throws(() => dequantize("Q4_0", group, new Float32Array(31)), RangeError);
  assert.throws(
    () => dequantize("Q4_0", group, new Float32Array(64)),
    /36 bytes are required, got 18/,
  );
});

Deno.test("packF16() packs pairs low half first and rounds ties to even", () => {
  assert.deepEqual([...packF16([1, -2])], [0xc0003c00]);
  assert.deepEqual([...packF16([65504, 5.960464477539063e-8, 1e6])], [0x00017bff, 0x00007c00]);
  // 2049 is midway between 2048 and 2050; 2051 between 2050 and 2052.
  assert.deepEqual([...unpackF16(packF16([2049, 2051]))], [2048, 2052]);
  assert.deepEqual([...roundF16([0.1, -0, 1e-9])], [0.0999755859375, -0, 0]);
});

Deno.test("unpackF16() inverts packF16() for every finite half", () => {
  const halves = new Uint16Array(65536).map((_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
  const words = new Uint32Array(halves.buffer);
  assert.deepEqual(packF16(unpackF16(words)), words);
});
