/** Tests of the tests' own assertions. */

import assert from "node:assert/strict";
import { assertAllClose, compareWithGolden, klTopTen, logSoftmax } from "./assert.ts";

Deno.test("assertAllClose() accepts values within the tolerance", () => {
  assertAllClose([1, 2, -Infinity], [1.001, 2, -Infinity], { absolute: 0.002 });
  assertAllClose([100, 0], [101, 0], { relative: 0.01 });
});

Deno.test("assertAllClose() reports how many values differ, by how much and where", () => {
  assert.throws(() => assertAllClose([1, 2, 5], [1, 2.5, 3], { absolute: 0.1, message: "rows" }), {
    message: "rows: 2 of 3 beyond absolute 0.1, relative 0; mean error 0.8333333333333334, " +
      "max 2 at [2] (got 5, expected 3)",
  });
  assert.throws(() => assertAllClose([1, NaN, 9], [1, 1, 1], { absolute: 100 }), {
    message: /1 of 3 beyond .* max NaN at \[1\]/,
  });
  assert.throws(() => assertAllClose([Infinity], [1], { relative: 1 }), /max Infinity/);
  assert.throws(() => assertAllClose([1], [1, 2], {}), { message: /1 values, expected 2/ });
});

Deno.test("klTopTen() is 0 for the golden itself, and otherwise equals a hand computation", () => {
  const logprobs = logSoftmax([2, 1, 0, 0]);
  const position = {
    next_logprob: null,
    top: [[0, logprobs[0]!], [1, logprobs[1]!]],
  } as const;
  assert.ok(Math.abs(klTopTen(position, logprobs)) < 1e-12);
  const half = { next_logprob: null, top: [[0, Math.log(0.5)]] } as const;
  const quarter = [Math.log(0.25), Math.log(0.75)];
  const expected = 0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75);
  assert.ok(Math.abs(klTopTen(half, quarter) - expected) < 1e-12);
  assert.ok(Number.isNaN(klTopTen(half, [NaN, 0])));
});

Deno.test("compareWithGolden() measures divergence and perplexity", () => {
  const row = [Math.log(0.5), Math.log(0.25), Math.log(0.25)];
  const top = row.map((logprob, id) => [id, logprob] as const);
  const golden = {
    model: "m",
    ids: [2, 0, 1],
    perplexity: Math.sqrt(8),
    positions: [0, 1, 2].map(() => ({ next_logprob: null, top })),
  };
  const { meanKl, maxKl, perplexity, perplexityError } = compareWithGolden(golden, [row, row, row]);
  assertAllClose([meanKl, maxKl, perplexity, perplexityError], [0, 0, Math.sqrt(8), 0], {
    absolute: 1e-12,
  });
  const wrong = compareWithGolden(golden, [row, [0, 0, 0], row]);
  assert.ok(wrong.maxKl > 0.05 && wrong.meanKl > 0.01 && wrong.perplexityError > 0.05);
  assert.throws(() => compareWithGolden(golden, [row]), /1 rows of logits for 3 tokens/);
});
