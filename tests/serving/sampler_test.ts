import assert from "node:assert/strict";
import { RequestError } from "../../engine/errors.ts";
import type { SamplingOptions } from "../../engine/run/runner.ts";
import {
  adjustLogits,
  drawKey,
  gumbel,
  keepThreshold,
  pcg,
  sampleToken,
  validateSampling,
} from "../../engine/run/sampler.ts";

const PLAIN: SamplingOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
  seed: 1,
};

/** Probabilities 0.4, 0.3, 0.2, 0.1 of tokens 2, 0, 3, 1. */
const FOUR = Float32Array.of(Math.log(0.3), Math.log(0.1), Math.log(0.4), Math.log(0.2));

function kept(logits: Float32Array, options: Partial<SamplingOptions>): number[] {
  const threshold = keepThreshold(logits, { ...PLAIN, ...options });
  return [...logits.keys()].filter((id) => logits[id]! >= threshold);
}

/** Returns Σ (seen − expected)² / expected over the cells. */
function chiSquare(seen: readonly number[], probabilities: readonly number[]): number {
  const draws = seen.reduce((sum, n) => sum + n, 0);
  return seen.reduce(
    (sum, n, i) => sum + (n - draws * probabilities[i]!) ** 2 / (draws * probabilities[i]!),
    0,
  );
}

Deno.test("keepThreshold() for top-k keeps the k largest, and all that tie with the last", () => {
  assert.deepEqual(kept(FOUR, { topK: 1 }), [2]);
  assert.deepEqual(kept(FOUR, { topK: 2 }), [0, 2]);
  assert.deepEqual(kept(FOUR, { topK: 0 }), [0, 1, 2, 3]);
  assert.deepEqual(kept(FOUR, { topK: 9 }), [0, 1, 2, 3]);
  assert.deepEqual(kept(Float32Array.of(1, 5, 1, 3, 1), { topK: 3 }), [0, 1, 2, 3, 4]);
});

Deno.test("keepThreshold() keeps the fewest that sum to top-p, including the one that reaches it", () => {
  assert.deepEqual(kept(FOUR, { topP: 0 }), [2]);
  assert.deepEqual(kept(FOUR, { topP: 0.35 }), [2]);
  assert.deepEqual(kept(FOUR, { topP: 0.45 }), [0, 2]);
  assert.deepEqual(kept(FOUR, { topP: 0.75 }), [0, 2, 3]);
  assert.deepEqual(kept(FOUR, { topP: 0.95 }), [0, 1, 2, 3]);
});

Deno.test("keepThreshold() renormalizes after top-k and before top-p", () => {
  // With only 0.4 and 0.3 left, the first has 0.571.
  assert.deepEqual(kept(FOUR, { topK: 2, topP: 0.55 }), [2]);
  assert.deepEqual(kept(FOUR, { topK: 2, topP: 0.6 }), [0, 2]);
  // Three tokens of 0.2 tie, so all four are kept.
  const tied = Float32Array.of(0.4, 0.2, 0.2, 0.2).map(Math.log);
  assert.deepEqual(kept(tied, { topK: 2, topP: 0.35 }), [0]);
  assert.deepEqual(kept(tied, { topK: 2, topP: 0.5 }), [0, 1, 2, 3]);
});

Deno.test("keepThreshold() drops tokens less than min-p times as probable as the best", () => {
  assert.deepEqual(kept(FOUR, { minP: 0.45 }), [0, 2, 3]);
  assert.deepEqual(kept(FOUR, { minP: 0.55 }), [0, 2]);
  assert.deepEqual(kept(FOUR, { minP: 1 }), [2]);
  assert.deepEqual(kept(FOUR, { minP: 0.3, topK: 2 }), [0, 2]);
});

Deno.test("keepThreshold() ignores the temperature", () => {
  for (const temperature of [0.1, 5]) {
    assert.deepEqual(kept(FOUR, { temperature, topP: 0.75, minP: 0.3 }), [0, 2, 3]);
  }
});

Deno.test("adjustLogits() adds the bias, then penalizes each recent token once", () => {
  const logits = Float32Array.of(2, -2, 1, 1, 0);
  adjustLogits(
    logits,
    { ...PLAIN, repeatPenalty: 2, logitBias: new Map([[2, 3], [4, -Infinity]]) },
    [0, 0, 1, 2, 0],
  );
  assert.deepEqual([...logits], [1, -4, 2, 1, -Infinity]);
});

Deno.test("adjustLogits() penalizes tokens of the last 64, or of `repeatWindow`", () => {
  const logits = Float32Array.of(4, 4, 4);
  adjustLogits(logits, { ...PLAIN, repeatPenalty: 2 }, [0, 1, ...Array(63).fill(2)]);
  assert.deepEqual([...logits], [4, 2, 2]);
  for (
    const [repeatWindow, expected] of [[0, [4, 4, 4]], [1, [4, 4, 2]], [2, [4, 2, 2]]] as const
  ) {
    const logits = Float32Array.of(4, 4, 4);
    adjustLogits(logits, { ...PLAIN, repeatPenalty: 2, repeatWindow }, [0, 1, 2]);
    assert.deepEqual([...logits], expected);
  }
  const far = Float32Array.of(4, 4);
  adjustLogits(far, { ...PLAIN, repeatPenalty: 2, repeatWindow: 65 }, [0, ...Array(64).fill(1)]);
  assert.deepEqual([...far], [2, 2]);
});

Deno.test("sampleToken() at temperature 0 returns the best token, the lowest id of equal ones", () => {
  const greedy = { ...PLAIN, temperature: 0 };
  assert.equal(sampleToken(Float32Array.of(1, 3, 2, 3), greedy, { recent: [], position: 0 }), 1);
  assert.equal(
    sampleToken(Float32Array.of(1, 3, 2, 3), { ...greedy, repeatPenalty: 2 }, {
      recent: [1],
      position: 0,
    }),
    3,
  );
  assert.equal(sampleToken(Float32Array.of(NaN, -5, -4), greedy, { recent: [], position: 0 }), 2);
});

Deno.test("pcg() is the published hash, in u32 arithmetic", () => {
  // The formula, computed with exact integers.
  const exact = (v: bigint): bigint => {
    const mask = 0xffffffffn;
    const s = (v * 747796405n + 2891336453n) & mask;
    const w = (((s >> ((s >> 28n) + 4n)) ^ s) * 277803737n) & mask;
    return (w >> 22n) ^ w;
  };
  for (const v of [0, 1, 2, 49151, 0x7fffffff, 0x80000000, 0xdeadbeef, 0xffffffff]) {
    assert.equal(BigInt(pcg(v)), exact(BigInt(v)));
  }
  assert.equal(pcg(0), 129708002);
});

Deno.test("gumbel() is finite at the ends and exact to float32 between", () => {
  let low = Infinity;
  let high = -Infinity;
  for (let id = 0; id < 200_000; id++) {
    const g = gumbel(7, id);
    const v = ((pcg(id ^ 7) >>> 9) + 0.5) / 2 ** 23;
    const exact = -Math.log(-Math.log1p(-v));
    assert.ok(Math.abs(g - exact) <= 4e-6 + 2e-7 * Math.abs(exact), `${g} is not ${exact}`);
    low = Math.min(low, g);
    high = Math.max(high, g);
  }
  // The extremes of 200,000 standard Gumbel variates are near −2.5 and 12.2.
  assert.ok(low < -2.2 && low > -2.9, `${low}`);
  assert.ok(high > 10 && high < 16.7, `${high}`);
});

Deno.test("sampleToken() draws from the softmax over seeds", () => {
  const logits = Float32Array.of(0, 1, -1, 2, 0.5, -2, 1.5, 0);
  const exps = [...logits].map(Math.exp);
  const total = exps.reduce((sum, e) => sum + e, 0);
  const seen = Array<number>(8).fill(0);
  for (let seed = 0; seed < 20_000; seed++) {
    seen[sampleToken(logits.slice(), { ...PLAIN, seed }, { recent: [], position: 17 })]!++;
  }
  // The 99.9th percentile of χ² with 7 degrees of freedom.
  assert.ok(chiSquare(seen, exps.map((e) => e / total)) < 24.3, `${seen}`);
});

Deno.test("sampleToken() draws from the tempered softmax over positions, without dropped tokens", () => {
  const options = { ...PLAIN, temperature: 0.5, topK: 3, seed: 4_000_000_000 };
  const seen = Array<number>(4).fill(0);
  for (let position = 0; position < 20_000; position++) {
    seen[sampleToken(FOUR.slice(), options, { recent: [], position })]!++;
  }
  assert.equal(seen[1], 0);
  const squares = [0.09, 0.16, 0.04].map((p) => p / 0.29);
  // 2 degrees of freedom.
  assert.ok(chiSquare([seen[0]!, seen[2]!, seen[3]!], squares) < 13.8, `${seen}`);
});

Deno.test("sampleToken() draws neighbouring positions and seeds independently", () => {
  const draw = (seed: number, position: number): number =>
    sampleToken(new Float32Array(4), { ...PLAIN, seed }, { recent: [], position });
  for (const [seeds, positions] of [[0, 1], [1, 0]] as const) {
    const pairs = Array<number>(16).fill(0);
    for (let i = 0; i < 20_000; i++) {
      const seed = i * 2 * seeds;
      const position = i * 2 * positions;
      pairs[draw(seed, position) * 4 + draw(seed + seeds, position + positions)]!++;
    }
    // 15 degrees of freedom.
    assert.ok(chiSquare(pairs, Array(16).fill(1 / 16)) < 37.7, `${pairs}`);
  }
});

Deno.test("sampleToken() depends on seed and position, and on nothing else", () => {
  const logits = new Float32Array(1000);
  const draw = (seed: number, position: number): number =>
    sampleToken(logits.slice(), { ...PLAIN, seed }, { recent: [], position });
  const tokens = Array.from({ length: 20 }, (_, position) => draw(5, position));
  assert.deepEqual(Array.from({ length: 20 }, (_, position) => draw(5, position)), tokens);
  assert.ok(new Set(tokens).size > 15);
  assert.notEqual(drawKey(5, 3), drawKey(6, 3));
  // These must never change: another hash would change every seeded text.
  assert.deepEqual(tokens.slice(0, 4), [972, 835, 644, 643]);
});

Deno.test("validateSampling() accepts every option's bounds, and names an option out of bounds", () => {
  validateSampling({ ...PLAIN, temperature: 0, topP: 0, seed: 0xffffffff }, 10);
  validateSampling({ ...PLAIN, minP: 1, logitBias: new Map([[9, -Infinity]]) }, 10);
  const refused: [Partial<SamplingOptions>, RegExp][] = [
    [{ temperature: -1 }, /temperature -1: must be 0 or/],
    [{ temperature: NaN }, /temperature NaN/],
    [{ temperature: 1e-9 }, /temperature 1e-9/],
    [{ topK: -1 }, /topK -1/],
    [{ topK: 1.5 }, /topK 1\.5/],
    [{ topK: 2 ** 32 }, /topK 4294967296/],
    [{ topP: 1.1 }, /topP 1\.1: must be a number from 0 to 1/],
    [{ minP: -0.1 }, /minP -0\.1/],
    [{ repeatPenalty: 0 }, /repeatPenalty 0: must be a finite float32 of at least 0\.000001/],
    [{ repeatWindow: 1025 }, /repeatWindow 1025: must be a whole number from 0 to 1024/],
    [{ repeatPenalty: 1e-40 }, /repeatPenalty 1e-40/],
    [{ repeatPenalty: 1e39 }, /repeatPenalty 1e\+39/],
    [{ temperature: 1e39 }, /temperature 1e\+39/],
    [{ seed: 2 ** 32 }, /seed 4294967296/],
    [{ seed: 0.5 }, /seed 0\.5/],
    [{ logitBias: new Map([[10, 1]]) }, /token 10: must be a token id below 10/],
    [{ logitBias: { 3: 1 } as unknown as Map<number, number> }, /logitBias: must be a Map from/],
    [{ logitBias: new Map([[3, NaN]]) }, /token 3 NaN/],
    [{ logitBias: new Map([[3, Infinity]]) }, /token 3 Infinity/],
    [{ logitBias: new Map([[3, 1e39]]) }, /token 3 1e\+39/],
    [
      { logitBias: new Map(Array.from({ length: 1025 }, (_, i) => [i % 10 + i / 2000, 0])) },
      /1025 logit biases: must be at most 1024/,
    ],
  ];
  for (const [options, message] of refused) {
    assert.throws(() => validateSampling({ ...PLAIN, ...options }, 10), (error) => {
      assert.ok(error instanceof RequestError);
      assert.match(error.message, message);
      return true;
    });
  }
});
