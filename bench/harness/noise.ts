/** Checks whether measurements are reliable: outliers, drift, and the noise of the machine. */

import {
  linearRegression,
  mean,
  median,
  medianAbsoluteDeviation,
  sampleStandardDeviation,
} from "simple-statistics";
import { summarize } from "../report/stats.ts";
import { plural } from "../../engine/plural.ts";

// Factor that turns the MAD of a normal distribution into its standard deviation, and the modified
// z-score above which a sample is an outlier: Iglewicz and Hoaglin, 1993.
const NORMAL_MAD = 1.4826;
const OUTLIER_SCORE = 3.5;
// Samples this close to the median (as a share of it) are not outliers, however small the scatter
// is.
const NEGLIGIBLE = 0.02;
/** Coefficient of variation above which the machine was too noisy to compare runs. */
const NOISY = 0.1;
/**
 * Change from the first to the last repetition, as a share of the mean, above which there is a
 * drift.
 */
const DRIFT = 0.1;
/** Spread of the probe above which its limits are not reliable. */
const UNSTEADY_PROBE = 0.1;
/** The samples that are far from the others; none if there are fewer than four. */
export function outliers(samples: readonly number[]): number[] {
  if (samples.length < 4) return [];
  const values = [...samples];
  const center = median(values);
  const scale = medianAbsoluteDeviation(values) * NORMAL_MAD;
  const near = Math.max(OUTLIER_SCORE * scale, NEGLIGIBLE * Math.abs(center));
  return values.filter((value) => Math.abs(value - center) > near);
}

/** Warnings about the samples of the measure `name`, with advice. */
export function doubts(name: string, samples: readonly number[]): string[] {
  const found: string[] = [];
  const far = outliers(samples).length;
  if (far > 0) {
    found.push(
      `${name}: ${far} of ${samples.length} samples are outliers; close other programs, or raise --warmup and --repetitions`,
    );
  }
  const drift = driftOf(samples);
  if (Math.abs(drift) > DRIFT) {
    found.push(
      `${name}: ${drift > 0 ? "rose" : "fell"} by ${
        Math.round(Math.abs(drift) * 100)
      } % from the first to the last repetition; the clock speed may have changed with the temperature`,
    );
  }
  return found;
}

/** A warning if the machine was too noisy for the headline measures. It names the noisiest one. */
export function noise(measures: readonly (readonly [string, readonly number[]])[]): string[] {
  const noisy = measures.map(([name, samples]) => [name, variation(samples)] as const)
    .filter(([, cv]) => cv > NOISY).sort(([, a], [, b]) => b - a);
  const [worst] = noisy;
  if (worst === undefined) return [];
  return [
    `the machine was noisy: the coefficient of variation is above ${100 * NOISY} % in ` +
    `${noisy.length} of ${measures.length} ${plural(measures.length, "measure")} (up to ${
      Math.round(100 * worst[1])
    } %, in ${worst[0]}); do not compare this run with others`,
  ];
}

/**
 * A warning about the figures of the probe that are not reliable.
 *
 * @param spreads name of each figure, and its spread (see `probeSpreads`)
 */
export function unsteadyProbe(spreads: readonly (readonly [string, number])[]): string[] {
  const wide = spreads.filter(([, spread]) => spread > UNSTEADY_PROBE);
  if (wide.length === 0) return [];
  const each = wide.map(([name, spread]) => `${name} ${Math.round(100 * spread)} %`).join(", ");
  return [
    `the probe was disturbed: its figures spread by more than ${
      100 * UNSTEADY_PROBE
    } % (${each}); ` +
    "results given as a share of a limit are just as uncertain",
  ];
}

function variation(samples: readonly number[]): number {
  const { mean, stddev } = summarize(samples);
  return mean === 0 ? 0 : stddev / Math.abs(mean);
}

/**
 * The change along the regression line of the samples, as a share of their mean; 0 if it is within
 * the noise.
 */
function driftOf(samples: readonly number[]): number {
  const count = samples.length;
  const average = mean([...samples]);
  if (count < 5 || average === 0) return 0;
  const { m, b } = linearRegression(samples.map((value, i) => [i, value]));
  const residuals = samples.map((value, i) => value - (m * i + b));
  const change = m * (count - 1);
  // A trend smaller than twice the scatter around it does not count.
  if (Math.abs(change) < 2 * sampleStandardDeviation(residuals)) return 0;
  return change / average;
}
