/** Lists of numbers to measure one after the other, in llama-bench's syntax. */

import { RequestError } from "../../engine/errors.ts";

/** Maximum number of values: a mistyped range should not measure for days. */
const MOST = 256;

/**
 * Parses `512`, `128,512`, and the ranges `1-4`, `128-512+128` (steps of 128) and `128-4096*2`
 * (each value twice the one before).
 *
 * @param least the smallest number allowed
 * @param most the largest
 * @returns the numbers in the order given, each once.
 * @throws {RequestError} with a message that says what was expected.
 */
export function parseSweep(
  text: string,
  { least, most }: { readonly least: number; readonly most: number },
): number[] {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [, first, last, sign, by] =
      /^(\d{1,8})(?:-(\d{1,8})(?:([+*])(\d{1,8}))?)?$/.exec(part.trim()) ?? [];
    const [from, to, step] = [Number(first), Number(last ?? first), Number(by ?? 1)];
    const grows = sign === "*" ? step >= 2 && from >= 1 : step >= 1;
    if (!(from >= least && to >= from && to <= most && grows)) {
      throw new RequestError(`Expected ${sweepText(least, most)}.`);
    }
    for (let value = from; value <= to; value = sign === "*" ? value * step : value + step) {
      values.add(value);
      if (values.size > MOST) throw new RequestError(`Expected ${sweepText(least, most)}.`);
    }
  }
  return [...values];
}

function sweepText(least: number, most: number): string {
  return `at most ${MOST} numbers from ${least} to ${most}, as in 1,2,4 or 1-4, 128-512+128 or 128-4096*2`;
}

/** A suite option whose value is such a list. */
export function sweepOption(
  summary: string,
  bounds: { readonly least: number; readonly most: number },
): { value: string; summary: string; accepts: (text: string) => boolean; expected: string } {
  return {
    value: "<list>",
    summary,
    accepts: (text) => {
      try {
        return parseSweep(text, bounds).length > 0;
      } catch (error) {
        if (error instanceof RequestError) return false;
        throw error;
      }
    },
    expected: sweepText(bounds.least, bounds.most),
  };
}
