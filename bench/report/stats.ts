/** What repeated measurements come to: median, spread, percentiles. */

import { mean, median, quantile, sampleStandardDeviation } from "simple-statistics";

/** What a measure's samples come to. */
export interface Summary {
  readonly median: number;
  readonly mean: number;
  /** Sample standard deviation; 0 of a single sample. */
  readonly stddev: number;
}

/** Summarizes at least one sample. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError("Cannot summarize no samples");
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

/** The median ratio of samples of the same repetition, so that drift of the machine cancels. */
export function pairedRatio(above: readonly number[], below: readonly number[]): number {
  return medianOf(above.map((sample, i) => sample / below[i]!));
}

/** The p-th percentile (0 to 100) of at least one sample. */
export function percentile(samples: readonly number[], p: number): number {
  return quantile([...samples], p / 100);
}
