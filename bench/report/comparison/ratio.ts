/** The ratio of a measure between two sides, and its confidence interval. */

import { mean, sampleVariance } from "simple-statistics";
import type { Interval, Result } from "../report.ts";
import { LEAST_INTERVAL_SAMPLES, medianRatio, pairedRatios } from "../stats.ts";
import { sequentialInterval } from "./sequential.ts";

/** A measure of B divided by the same measure of A. */
export interface Ratio {
  /** The values of the sides: means over their runs. */
  readonly a: number;
  readonly b: number;
  /** b / a; undefined if one of them is not above 0. */
  readonly ratio?: number;
  /** The 95 % interval of the ratio; undefined if it is not known. */
  readonly interval?: Interval;
}

/** Minimum degrees of freedom to estimate the spread between runs from the runs themselves. */
const LEAST_RUN_FREEDOM = 4;

/**
 * Standard deviation between runs of one program, relative to that between the repetitions of a
 * run. With 2.5, at most 5 in 100 pairs of equal runs are called different on a machine that is
 * shared with others; docs/bench/compare.md has the measurements.
 */
const BETWEEN_RUNS = 2.5;

/** The 97.5th percentile of the normal distribution. */
const NORMAL = 1.959964;

/**
 * Compares a result between the runs of two sides. `paired`: their repetitions were interleaved.
 */
export function ratioOf(
  a: readonly Result[],
  b: readonly Result[],
  { paired = false }: { readonly paired?: boolean } = {},
): Ratio {
  const sides = { a: center(a), b: center(b) };
  if (!(sides.a > 0 && sides.b > 0)) return sides;
  const [first, second] = [a[0]!.samples, b[0]!.samples];
  if (paired && first && second && arePositive([...first, ...second])) {
    const ratios = pairedRatios(second, first);
    // The interleaving may have ended because a difference showed, which this interval allows for.
    const interval = sequentialInterval(ratios);
    return { ...sides, ratio: medianRatio(ratios), ...(interval && { interval }) };
  }
  const ratio = sides.b / sides.a;
  const margin = betweenRuns(a, b) ?? standIn(a, b);
  return {
    ...sides,
    ratio,
    ...(margin !== undefined && {
      interval: [ratio / Math.exp(margin), ratio * Math.exp(margin)],
    }),
  };
}

/** The geometric mean of the runs' values, or the arithmetic mean if some are not above 0. */
function center(runs: readonly Result[]): number {
  const values = runs.map(({ value }) => value);
  return values.length === 1 || !arePositive(values)
    ? mean(values)
    : Math.exp(mean(values.map(Math.log)));
}

/**
 * Half of the interval's width on the log scale, from the differences between runs of the same side
 * (the two-sample t interval of the runs' values). Undefined for too few runs.
 */
function betweenRuns(a: readonly Result[], b: readonly Result[]): number | undefined {
  const freedom = a.length + b.length - 2;
  const values = [...a, ...b].map(({ value }) => value);
  if (freedom < LEAST_RUN_FREEDOM || !arePositive(values)) return undefined;
  const squares = [a, b].map((runs) =>
    runs.length < 2 ? 0 : (runs.length - 1) * logVariance(runs.map(({ value }) => value))
  );
  const variance = (squares[0]! + squares[1]!) / freedom;
  if (variance === 0) return undefined; // a computed value, not a measured one
  return studentQuantile(freedom) * Math.sqrt(variance * (1 / a.length + 1 / b.length));
}

/**
 * The same with one run per side. The differences between runs are then not known, and the
 * repetitions of a run share its circumstances: other programs, the clock, the placement in memory.
 * The spread between runs is therefore assumed to be BETWEEN_RUNS times that between repetitions.
 * The error of the medians is added (their variance is π/2 times that of a mean). The degrees of
 * freedom are Satterthwaite's.
 */
function standIn(a: readonly Result[], b: readonly Result[]): number | undefined {
  const parts: { variance: number; freedom: number }[] = [];
  for (const runs of [a, b]) {
    const samples = runs[0]!.samples ?? [];
    if (samples.length < LEAST_INTERVAL_SAMPLES || !arePositive(samples)) return undefined;
    const variance = logVariance(samples) *
      (BETWEEN_RUNS ** 2 + Math.PI / (2 * samples.length));
    parts.push({ variance, freedom: samples.length - 1 });
  }
  const variance = parts.reduce((sum, part) => sum + part.variance, 0);
  if (variance === 0) return undefined;
  const freedom = variance ** 2 /
    parts.reduce((sum, part) => sum + part.variance ** 2 / part.freedom, 0);
  return studentQuantile(freedom) * Math.sqrt(variance);
}

function logVariance(values: readonly number[]): number {
  return sampleVariance(values.map(Math.log));
}

function arePositive(values: readonly number[]): boolean {
  return values.every((value) => value > 0);
}

/**
 * The 97.5th percentile of Student's t distribution, by its expansion about the normal one
 * (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5): within 0.04 % from four
 * degrees of freedom on.
 */
export function studentQuantile(freedom: number): number {
  const x = NORMAL;
  const terms = [
    (x ** 3 + x) / 4,
    (5 * x ** 5 + 16 * x ** 3 + 3 * x) / 96,
    (3 * x ** 7 + 19 * x ** 5 + 17 * x ** 3 - 15 * x) / 384,
    (79 * x ** 9 + 776 * x ** 7 + 1482 * x ** 5 - 1920 * x ** 3 - 945 * x) / 92160,
  ];
  return terms.reduce((sum, term, i) => sum + term / freedom ** (i + 1), x);
}
