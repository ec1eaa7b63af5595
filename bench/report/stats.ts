/**
 * Statistics of repeated measurements: medians and their intervals, percentiles, ratios of pairs.
 */

import { mean, median, quantile, sampleStandardDeviation } from "simple-statistics";
import type { Interval } from "./report.ts";

/** Statistics of the samples of a measure. */
export interface Summary {
  readonly median: number;
  readonly mean: number;
  /** Sample standard deviation; 0 for a single sample. */
  readonly stddev: number;
}

/** Summarizes at least one sample. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError("Cannot summarize: there are no samples");
  const values = [...samples];
  return {
    median: median(values),
    mean: mean(values),
    stddev: values.length > 1 ? sampleStandardDeviation(values) : 0,
  };
}

/** The median of at least one sample. */
export function medianOf(samples: readonly number[]): number {
  return summarize(samples).median;
}

/**
 * Minimum number of samples for a 95 % interval: the whole range of fewer covers the median less
 * often.
 */
export const LEAST_INTERVAL_SAMPLES = 6;

const CONFIDENCE = 0.95;

/**
 * The 95 % interval of the median, whatever the distribution: order statistics, interpolated between
 * the two pairs whose coverage is above and below 95 % (Hettmansperger and Sheather, "Confidence
 * intervals based on interpolated order statistics", Statistics & Probability Letters 4, 1986).
 * Undefined for fewer than six samples.
 */
export function medianInterval(samples: readonly number[]): Interval | undefined {
  const n = samples.length;
  if (n < LEAST_INTERVAL_SAMPLES) return undefined;
  const sorted = [...samples].sort((a, b) => a - b);
  // The d-th smallest and the d-th largest sample enclose the median with this probability.
  let [d, wider, narrower] = [1, 1, 1 - 2 * 2 ** -n];
  let chance = 2 ** -n;
  while (narrower >= CONFIDENCE) {
    wider = narrower;
    chance *= (n - d + 1) / d;
    narrower -= 2 * chance;
    d++;
  }
  d--; // `wider` is the coverage for d, `narrower` for d + 1
  const part = (wider - CONFIDENCE) / (wider - narrower);
  const inner = (n - d) * part / (d + (n - 2 * d) * part);
  const between = (outer: number, next: number) => outer + inner * (next - outer);
  return [between(sorted[d - 1]!, sorted[d]!), between(sorted[n - d]!, sorted[n - d - 1]!)];
}

/**
 * `factor` times the ratios of samples of the same repetition, so that changes on the machine
 * cancel out.
 */
export function pairedRatios(
  above: readonly number[],
  below: readonly number[],
  factor = 1,
): number[] {
  return above.map((sample, i) => factor * sample / below[i]!);
}

/** The median of ratios on the log scale, where twice and half as much are equally far from 1. */
export function medianRatio(ratios: readonly number[]): number {
  return Math.exp(medianOf(ratios.map(Math.log)));
}

/** The 95 % interval of `medianRatio`. */
export function ratioInterval(ratios: readonly number[]): Interval | undefined {
  const interval = medianInterval(ratios.map(Math.log));
  return interval && [Math.exp(interval[0]), Math.exp(interval[1])];
}

/**
 * Minimum number of values beyond a percentile: with fewer, it says little more than the largest
 * value.
 */
const BEYOND = 5;

/** Whether `count` values are enough for the p-th percentile (0 to 100), on both of its sides. */
export function hasPercentile(count: number, p: number): boolean {
  return count * Math.min(p, 100 - p) / 100 >= BEYOND;
}

/** The p-th percentile (0 to 100) of at least one sample. */
export function percentile(samples: readonly number[], p: number): number {
  return quantile([...samples], p / 100);
}
