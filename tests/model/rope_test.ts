import assert from "node:assert/strict";
import { type RopeScaling, ropeTable } from "../../engine/model/rope.ts";

const table = (
  scaling: RopeScaling,
  { dims = 4, base = 10_000, factors }: {
    dims?: number;
    base?: number;
    factors?: Float32Array;
  } = {},
) => ropeTable({ base, dims, scaling }, factors);

function assertClose(actual: Float64Array, expected: number[]): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((e, i) => {
    assert.ok(Math.abs(actual[i]! - e) <= 1e-6 * Math.abs(e), `${i}: ${actual[i]} is not ${e}`);
  });
}

Deno.test("ropeTable()'s frequencies fall with the base and are divided by the model's factors", () => {
  assertClose(table({ kind: "none" }).frequencies, [1, 0.01]);
  const factors = Float32Array.of(2, 4);
  assertClose(table({ kind: "none" }, { factors }).frequencies, [0.5, 0.0025]);
});

Deno.test("ropeTable() divides every frequency for linear scaling", () => {
  const { frequencies, magnitude } = table({ kind: "linear", factor: 4 });
  assertClose(frequencies, [0.25, 0.0025]);
  assert.equal(magnitude, 1);
});

// Frequencies by pair, from transformers 4.56.2: _compute_llama3_parameters and
// _compute_yarn_parameters.
const LLAMA3 = {
  0: 1,
  8: 0.03760603093086393,
  14: 0.0032114459947525913,
  15: 0.001290547928209264,
  16: 0.00042955679655936815,
  17: 9.70828780262767e-05,
  18: 1.9461638184831125e-05,
  31: 9.418306725434911e-08,
};
const YARN = {
  0: 1,
  20: 0.01333521432163324,
  24: 0.005375321490790102,
  30: 0.0010643609812470017,
  39: 6.490394320837029e-05,
  40: 4.445698525097307e-05,
  63: 3.102344401879299e-07,
};

Deno.test("ropeTable() for llama3 keeps fast pairs, divides slow ones and interpolates between", () => {
  const { frequencies, magnitude } = table(
    {
      kind: "llama3",
      factor: 32,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContext: 8192,
    },
    { dims: 64, base: 500_000 },
  );
  const pairs = Object.keys(LLAMA3).map((i) => frequencies[Number(i)]!);
  assertClose(Float64Array.from(pairs), Object.values(LLAMA3));
  assert.equal(magnitude, 1);
});

Deno.test("ropeTable() for YaRN interpolates by rotations within the original context, and has a magnitude", () => {
  const scaling = { factor: 4, originalContext: 32768, betaFast: 32, betaSlow: 1 };
  const yarn = table({ kind: "yarn", ...scaling, attentionFactor: 1 }, { dims: 128, base: 1e6 });
  const pairs = Object.keys(YARN).map((i) => yarn.frequencies[Number(i)]!);
  assertClose(Float64Array.from(pairs), Object.values(YARN));
  assert.equal(yarn.magnitude, 1.138629436111989);
  assert.equal(
    table({ kind: "yarn", ...scaling, attentionFactor: 0.5 }).magnitude,
    0.5693147180559945,
  );
});
