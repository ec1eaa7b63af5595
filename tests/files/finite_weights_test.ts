/** assertFinite() finds every NaN and infinity, and nothing else. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { assertFinite, firstNonFinite, HALVES_AT } from "../../engine/files/finite_weights.ts";
import { RandomSource, randomWeights } from "../../engine/files/random_weights.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { withFile } from "./on_disk.ts";

const BAD_HALVES = [0x7c00, 0xfc00, 0x7c01, 0xffff];
const GOOD_HALVES = [0, 0x8000, 1, 0x7bff, 0xfbff];

for (const type of Object.keys(GROUP_LAYOUT) as TensorType[]) {
  Deno.test(`firstNonFinite() finds each bad weight of ${type}`, () => {
    const layout = GROUP_LAYOUT[type];
    const groups = 9; // Odd, so that the halves of some types do not fill the last word.
    const count = groups * layout.weights;
    const sound = randomWeights(type, count, { random: new RandomSource(5), deviation: 0.1 });
    assert.equal(firstNonFinite(type, sound), -1);
    const places = type in HALVES_AT ? HALVES_AT[type as keyof typeof HALVES_AT] : [0];
    for (const place of places) {
      for (let group = 0; group < groups; group++) {
        for (const half of [...GOOD_HALVES, ...BAD_HALVES]) {
          const bytes = sound.slice();
          const view = new DataView(bytes.buffer);
          const at = group * layout.bytes + place;
          if (type === "F32") view.setUint32(at, widened(half), true);
          else view.setUint16(at, type === "BF16" ? widened(half) >>> 16 : half, true);
          // The expected answer comes from the dequantized weights.
          const weights = new Float32Array(count);
          dequantize(type, bytes, weights);
          const bad = weights.findIndex((weight) => !Number.isFinite(weight));
          const expected = bad < 0 ? -1 : bad - bad % layout.weights;
          assert.equal(expected, BAD_HALVES.includes(half) ? group * layout.weights : -1);
          assert.equal(firstNonFinite(type, bytes), expected);
          // The same bytes at an address that is not aligned to words.
          const shifted = new Uint8Array(bytes.length + 2).subarray(2);
          shifted.set(bytes);
          assert.equal(firstNonFinite(type, shifted), expected);
        }
      }
    }
  });
}

/** Returns the bits of a float32 that is NaN or infinite if and only if the float16 is. */
function widened(half: number): number {
  const sign = (half >>> 15) << 31 >>> 0;
  const exponent = (half >>> 10 & 0x1f) === 0x1f ? 0xff : half >>> 10 & 0x1f;
  return (sign | exponent << 23 | (half & 0x3ff) << 13) >>> 0;
}

Deno.test("assertFinite() names file, tensor and weight", () => {
  withFile("tiny.gguf", tinyModel("llama", "Q8_0"), (path) => {
    const file = openGguf(path);
    const tensor = file.tensors.get("output.weight")!;
    const bytes = new Uint8Array(34 * 4);
    file.read(tensor, 340, bytes);
    assertFinite(file, tensor, { bytes, offset: 340 });
    bytes[34 * 2] = 0;
    bytes[34 * 2 + 1] = 0x7c;
    assert.throws(() => assertFinite(file, tensor, { bytes, offset: 340 }), {
      name: "ModelFormatError",
      message: `Cannot use ${path}: tensor 'output.weight' has NaN or infinity at weight 384; ` +
        "the file is damaged or was converted incorrectly: download or convert it again",
    });
    file.close();
  });
});
