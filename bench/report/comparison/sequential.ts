/**
 * An interval that is valid whenever a measurement ends. Whether a ratio is above or below the true
 * median is a fair coin toss. A bet on these tosses with the estimator of Krichevsky and Trofimov
 * (a mixture over all other coins) raises a stake of 1 above 1/α with a probability of at most α,
 * however long the race runs: H. Robbins, "Statistical methods related to the law of the iterated
 * logarithm", Annals of Mathematical Statistics 41 (1970), by J. Ville's inequality (1939). The
 * interval contains the medians against which the bet is not won. It only counts signs, so it is
 * valid for any distribution.
 */

import type { Interval } from "../report.ts";

/** Maximum probability that an interval ever excludes the true ratio. */
const ERROR_RATE = 0.05;

/** The interval of the median of these ratios, all above 0; undefined for fewer than seven. */
export function sequentialInterval(ratios: readonly number[]): Interval | undefined {
  const n = ratios.length;
  const d = leastBelow(n);
  if (d === 0) return undefined;
  const sorted = [...ratios].sort((a, b) => a - b);
  return [sorted[d - 1]!, sorted[n - d]!];
}

/**
 * The smallest number of ratios below a median for which the bet against this median is not won.
 */
function leastBelow(n: number): number {
  // Logarithm of the bet's value for k of n: 2^n (1/2 · 3/2 ⋯ to k) (1/2 · 3/2 ⋯ to n - k) / n!.
  let log = 0;
  for (let i = 0; i < n; i++) log += Math.log((i + 0.5) / (i + 1)) + Math.LN2;
  let k = 0;
  while (log >= -Math.log(ERROR_RATE) && 2 * k < n) {
    log += Math.log((k + 0.5) / (n - k - 0.5));
    k++;
  }
  return k;
}
