/** Variants of a kernel family, and how they did. */

import type { Tuning } from "../../kernels/tuning.ts";
import type { TunedFamily } from "../../kernels/tuning_variants.ts";

/** A variant, and the tuning that has it. */
export interface Variant {
  readonly name: string;
  readonly tuning: Tuning;
}

/** How a variant did. */
export interface TunedVariant {
  readonly name: string;
  /** Its time over that of the usual one; undefined if it was not timed. */
  readonly ratio?: number;
  /** Why it is out of the question. */
  readonly fault?: string;
}

/** What was found out of a family. */
export interface TunedResult {
  readonly family: TunedFamily;
  readonly variants: readonly TunedVariant[];
  /** The one that devices have which were not tuned. */
  readonly usual: string;
  readonly chosen: string;
}

/** A variant is worth choosing if it is faster than the usual one by this. */
const WORTH = 0.97;

/** The name of the fastest variant; the usual one if it may be used and none is worth a change. */
export function fastest(variants: readonly TunedVariant[], usual: string): string {
  const timed = variants.flatMap(({ name, ratio }) => ratio === undefined ? [] : { name, ratio });
  const own = timed.find(({ name }) => name === usual);
  const refused = variants.some(({ name, fault }) => name === usual && fault !== undefined);
  const better = refused ? timed : timed.filter(({ ratio }) => own && ratio <= own.ratio * WORTH);
  if (better.length === 0) return usual;
  return better.reduce((best, one) => one.ratio < best.ratio ? one : best).name;
}
