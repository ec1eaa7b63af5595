/** Assertions about numbers that `node:assert/strict` does not have. */

import { AssertionError } from "node:assert/strict";

/** How far a value may be from the expected one: |a - e| ≤ absolute + relative × |e|. */
export interface Tolerance {
  readonly absolute?: number;
  readonly relative?: number;
  /** Start of the error message. */
  readonly message?: string;
}

/**
 * Asserts that each value of `actual` is within the tolerance of `expected`; NaN never is. The
 * error message contains the number of values that are not, the mean error, and the largest error
 * with its position.
 */
export function assertAllClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { absolute = 0, relative = 0, message = "values differ" }: Tolerance,
): void {
  if (actual.length !== expected.length) {
    throw new AssertionError({
      message: `${message}: ${actual.length} values, expected ${expected.length}`,
    });
  }
  let wrong = 0, sum = 0, worst = -1, where = -1;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!, e = expected[i]!;
    const error = a === e ? 0 : Math.abs(a - e);
    sum += error;
    // Infinity is close only to itself.
    if (error !== 0 && !(Number.isFinite(e) && error <= absolute + relative * Math.abs(e))) wrong++;
    // NaN counts as the largest error.
    if (where < 0 || error > worst || Number.isNaN(error) && !Number.isNaN(worst)) {
      worst = error;
      where = i;
    }
  }
  if (wrong === 0) return;
  throw new AssertionError({
    message: `${message}: ${wrong} of ${expected.length} beyond absolute ${absolute}, relative ` +
      `${relative}; mean error ${sum / expected.length}, max ${worst} at [${where}] ` +
      `(got ${actual[where]}, expected ${expected[where]})`,
  });
}

/** The reference's predictions after each token of a text: see fixtures/reference.py. */
export interface Golden {
  readonly model: string;
  readonly ids: readonly number[];
  readonly perplexity: number;
  readonly positions: readonly GoldenPosition[];
}

export interface GoldenPosition {
  /** Log-probability of the token that comes next, null after the last. */
  readonly next_logprob: number | null;
  /** The ten most likely tokens, most likely first: [id, log-probability]. */
  readonly top: readonly (readonly [id: number, logprob: number])[];
}

/** Reads fixtures/goldens/`name`.json. */
export function readGolden(name: string): Golden {
  return JSON.parse(
    Deno.readTextFileSync(new URL(`../fixtures/goldens/${name}.json`, import.meta.url)),
  );
}

/** Natural logarithms of the softmax of `logits`, in float64. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const max = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
  return values.map((value) => value - max - total);
}

/**
 * Kullback–Leibler divergence, in nats, of a model's log-probabilities from the golden's: over the
 * golden's top tokens, and one bucket for all others.
 */
export function klTopTen(golden: GoldenPosition, logprobs: ArrayLike<number>): number {
  let divergence = 0, goldenRest = 1, rest = 1;
  for (const [id, expected] of golden.top) {
    const actual = logprobs[id]!;
    divergence += Math.exp(expected) * (expected - actual);
    goldenRest -= Math.exp(expected);
    rest -= Math.exp(actual);
  }
  if (goldenRest > 0) divergence += goldenRest * Math.log(goldenRest / Math.max(rest, 1e-12));
  return divergence;
}

/** How a model's logits, one row per token of the golden's ids, compare with it. */
export interface GoldenComparison {
  readonly meanKl: number;
  readonly maxKl: number;
  readonly perplexity: number;
  /** |perplexity / golden perplexity - 1|. */
  readonly perplexityError: number;
}

export function compareWithGolden(
  golden: Golden,
  logits: readonly ArrayLike<number>[],
): GoldenComparison {
  if (logits.length !== golden.ids.length) {
    throw new AssertionError({
      message: `${logits.length} rows of logits for ${golden.ids.length} tokens`,
    });
  }
  let sum = 0, maxKl = 0, loss = 0;
  for (const [i, row] of logits.entries()) {
    const logprobs = logSoftmax(row);
    const kl = klTopTen(golden.positions[i]!, logprobs);
    sum += kl;
    maxKl = Number.isNaN(kl) ? NaN : Math.max(maxKl, kl);
    if (i + 1 < logits.length) loss -= logprobs[golden.ids[i + 1]!]!;
  }
  const perplexity = Math.exp(loss / (logits.length - 1));
  return {
    meanKl: sum / logits.length,
    maxKl,
    perplexity,
    perplexityError: Math.abs(perplexity / golden.perplexity - 1),
  };
}
