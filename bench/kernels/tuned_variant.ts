/** Variants of a kernel family, and the results of timing them. */

import type { Tuning } from "../../kernels/tuning.ts";
import type { TunedFamily } from "../../kernels/tuning_variants.ts";

/** A variant, and the tuning that contains it. */
export interface Variant {
  readonly name: string;
  readonly tuning: Tuning;
}

/** The result of a variant. */
export interface TunedVariant {
  readonly name: string;
  /** Its time relative to the usual variant; undefined if it was not timed. */
  readonly ratio?: number;
  /** Why it cannot be used. */
  readonly fault?: string;
}

/** The result of tuning a family. */
export interface TunedResult {
  readonly family: TunedFamily;
  readonly variants: readonly TunedVariant[];
  /** The variant of devices that were not tuned. */
  readonly usual: string;
  readonly chosen: string;
}

/** A variant is chosen if its time is at most this share of the usual one's. */
const WORTH = 0.97;

/**
 * The name of the fastest variant; the usual one if it works and no other is fast enough to replace
 * it.
 */
export function fastest(variants: readonly TunedVariant[], usual: string): string {
  const timed = variants.flatMap(({ name, ratio }) => ratio === undefined ? [] : { name, ratio });
  const own = timed.find(({ name }) => name === usual);
  const refused = variants.some(({ name, fault }) => name === usual && fault !== undefined);
  const better = refused ? timed : timed.filter(({ ratio }) => own && ratio <= own.ratio * WORTH);
  if (better.length === 0) return usual;
  return better.reduce((best, one) => one.ratio < best.ratio ? one : best).name;
}
