/** Compares the WASM matrix products with the reference, in every format and form. */

import assert from "node:assert/strict";
import makeWabt from "wabt";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import { matmul } from "../../kernels/reference.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { WASM_FORMATS } from "../../kernels/wasm/formats.ts";
import { makeKernels } from "../../kernels/wasm/module.ts";
import { DOT_OPERATIONS, makeProbe } from "../../kernels/wasm/probe.ts";
import { PRODUCT_FORMS } from "../../kernels/wasm/products.ts";
import { unpackStripRow } from "../../kernels/wasm/unpack.ts";
import { assertAllClose } from "../assert.ts";
import { randomMatrix, WasmMatrix } from "./wasm_module.ts";

const TYPES = Object.keys(WASM_FORMATS) as TensorType[];

/** Sizes that fill no tile: the last strip is not full, and the number of tokens is odd. */
const ROWS = 21;
const TOKENS = 5;

function activations(tokens: number, columns: number): Float32Array {
  const random = new RandomSource(9);
  return Float32Array.from({ length: tokens * columns }, () => random.bell());
}

/** Returns the norm of the difference divided by the norm of the expected values. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0, length = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    length += expected[i]! ** 2;
  }
  return Math.sqrt(difference / length);
}

for (const form of PRODUCT_FORMS) {
  Deno.test(`WASM products in form ${form} match the reference to 1e-4 in every format`, () => {
    for (const type of TYPES) {
      const columns = GROUP_LAYOUT[type].weights > 32 ? 512 : 96;
      const matrix = randomMatrix(type, ROWS, columns);
      const x = activations(TOKENS, columns);
      const actual = new WasmMatrix(matrix, form).multiply(x);
      const error = relativeError(actual, matmul(matrix, x));
      assert.ok(error <= 1e-4, `${type}: ${error}`);
    }
  });
}

Deno.test("WASM products are bit-identical with 64-bit addresses, and for a token alone or among others", () => {
  for (const type of ["F16", "Q4_0", "Q8_0", "Q6_K"] as const) {
    const matrix = randomMatrix(type, ROWS, 512);
    const x = activations(TOKENS, 512);
    const all = new WasmMatrix(matrix, "dot32").multiply(x);
    assert.deepEqual(new WasmMatrix(matrix, "dot32", { wide: true }).multiply(x), all);
    const alone = Array.from({ length: TOKENS }, (_, t) => [
      ...new WasmMatrix(matrix, "dot32").multiply(x.subarray(t * 512, (t + 1) * 512)),
    ]);
    assert.deepEqual(alone.flat(), [...all]);
  }
});

Deno.test("unpackStripRow() returns the weights that were packed, in every format", () => {
  for (const type of TYPES) {
    const matrix = randomMatrix(type, ROWS, 512);
    const { view, address } = new WasmMatrix(matrix, "plain");
    const expected = new Float32Array(ROWS * 512);
    dequantize(type, matrix.bytes, expected);
    const row = new Float32Array(512);
    for (const r of [0, 3, 4, 11, ROWS - 1]) {
      const strips = { format: WASM_FORMATS[type], columns: 512, address };
      unpackStripRow(view, strips, { row: r, out: row });
      const message = `${type} row ${r}`;
      assertAllClose(row, expected.subarray(r * 512, (r + 1) * 512), { message });
    }
  }
});

Deno.test("WASM strips preserve every half, also zeros and subnormals, for any number of columns", () => {
  for (const columns of [4, 8, 100, 104]) {
    const halves = Uint16Array.from({ length: ROWS * columns }, (_, i) => {
      const bits = Math.imul(i + 1, 0x9e3779b1) >>> 16;
      // The first strip goes up to the largest exponent; the others only up to that of 2^-3.
      const most = i < 8 * columns ? 0x7bff : 0x33ff;
      return bits % 5 === 0 ? bits & 0x83ff : bits % 7 === 0 ? 0 : bits & 0x8000 | bits % most;
    });
    const matrix = { type: "F16" as const, rows: ROWS, cols: columns, bytes: bytesOf(halves) };
    const { view, address } = new WasmMatrix(matrix, "plain");
    const expected = new Float32Array(new Float16Array(halves.buffer));
    const row = new Float32Array(columns);
    for (let r = 0; r < ROWS; r++) {
      unpackStripRow(view, { format: WASM_FORMATS.F16, columns, address }, { row: r, out: row });
      assert.deepEqual(row, expected.subarray(r * columns, (r + 1) * columns));
    }
  }
});

function bytesOf(values: Uint16Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.slice().buffer);
}

Deno.test("the probe's loops contain only arithmetic: V8 would recreate constants in each iteration", async () => {
  const wabt = await makeWabt();
  for (const form of PRODUCT_FORMS) {
    const { bytes } = makeProbe(form, 65536);
    const module = wabt.readWasm(bytes, { simd: true, relaxed_simd: true, threads: true });
    const loops = module.toText({}).split(/^ *loop/m).slice(1).map((text) =>
      text.split("br_if")[0]!
    );
    module.destroy();
    const products = loops.find((text) => /[._]dot_i/.test(text))!;
    assert.doesNotMatch(products, /const(?! 1$)/m, form);
    const dots = products.match(/[._]dot_i/g)!.length;
    assert.equal(DOT_OPERATIONS % (dots * (form === "plain" ? 8 : 16) * 2), 0);
    assert.ok(dots >= 12, `${dots}`);
  }
});

Deno.test("makeKernels() emits modules that wabt reads, with the instructions of their form", async () => {
  const wabt = await makeWabt();
  const features = { simd: true, relaxed_simd: true, threads: true, memory64: true };
  for (const form of PRODUCT_FORMS) {
    for (const wide of [false, true]) {
      const { bytes } = makeKernels({
        types: TYPES,
        activations: ["silu", "gelu"],
        cache: "f16",
        form,
        wide,
        maximum: 65536,
      });
      const module = wabt.readWasm(bytes, features);
      (module.validate as (features: object) => void).call(module, features);
      const text = module.toText({});
      module.destroy();
      const uses = (instruction: string) => text.includes(instruction);
      assert.equal(uses("i32x4.relaxed_dot_i8x16_i7x16_add_s"), form === "dot32");
      assert.equal(uses("i16x8.relaxed_dot_i8x16_i7x16_s"), form === "dot16");
      assert.equal(uses("relaxed"), form !== "plain");
      assert.equal(uses("(memory (;0;) i64"), wide);
    }
  }
});
