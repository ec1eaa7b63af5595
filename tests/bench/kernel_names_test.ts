import assert from "node:assert/strict";
import { isNamed, namesKernels } from "../../bench/kernels/names.ts";

Deno.test("isNamed() compares whole words, however they are joined", () => {
  for (const only of ["matmul", "matmul/q4_1", "Q4_1", "attention, matmul q4-1", undefined]) {
    assert.ok(isNamed("matmul Q4_1", only), only);
  }
  for (const only of ["q4", "q4_1/matmul", "attention", "mat"]) {
    assert.equal(isNamed("matmul Q4_1", only), only === "q4", only);
  }
  assert.equal(isNamed("matmul BF16", "f16"), false);
});

Deno.test("namesKernels() refuses a list of which a part names no kernel", () => {
  assert.ok(namesKernels("matmul/q6_k,sampling,rope_append/f32"));
  assert.equal(namesKernels("matmul,atention"), false);
  assert.equal(namesKernels("matmul/q9"), false);
});
