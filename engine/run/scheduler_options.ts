/** The scheduler's options, and a check of them. */

import { RequestError } from "../errors.ts";
import { MOST_STEPS } from "./runner.ts";
import type { RequestLimits } from "./sequence.ts";

export interface SchedulerOptions extends RequestLimits {
  /** Maximum number of tokens in one step, all sequences together. */
  readonly maxBatchTokens: number;
  /** Maximum number of sequences that run at the same time: the number of the runner's slots. */
  readonly maxSequences: number;
  /** Decode steps to chain when all sequences decode; default 1, at most MOST_STEPS. */
  readonly steps?: number;
  /** Keep keys and values once a token is sampled (default), or compute all of them again. */
  readonly keepKeys?: boolean;
}

/**
 * @throws {RequestError} if an option is not a whole number of at least 1, or exceeds its limit.
 */
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
    throw new RequestError(`Cannot schedule: steps is ${steps}; the maximum is ${MOST_STEPS}`);
  }
}
