/** What a scheduler is told, and whether that can be. */

import { RequestError } from "../errors.ts";
import { MOST_STEPS } from "./runner.ts";
import type { RequestLimits } from "./sequence.ts";

export interface SchedulerOptions extends RequestLimits {
  /** Tokens that may enter in one step, all sequences together. */
  readonly maxBatchTokens: number;
  /** Sequences that may run at once: rows of the device. */
  readonly maxSequences: number;
  /** Decode steps to chain on the device where all sequences decode; default 1, at most MOST_STEPS. */
  readonly steps?: number;
  /** Whether keys and values stay when a token is sampled; if not, all tokens enter again. Default yes. */
  readonly keepKeys?: boolean;
}

/** @throws {RequestError} if an option is not a whole number of at least 1, or too many steps. */
export function checkOptions(
  { maxBatchTokens, maxSequences, contextLength, steps = 1 }: SchedulerOptions,
): void {
  const counts = { maxBatchTokens, maxSequences, contextLength, steps };
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RequestError(
        `Cannot schedule: ${name} is ${value}, not a whole number of at least 1`,
      );
    }
  }
  if (steps > MOST_STEPS) {
    throw new RequestError(`Cannot schedule: steps is ${steps}, more than ${MOST_STEPS}`);
  }
}
