/** The state that a backend on the processor keeps for the sequence in each slot. */

import { type BatchSequence, REPEAT_HISTORY } from "./runner.ts";

/** The state of the sequence in one slot. */
export class Slot {
  /** Number of the sequence's tokens in the KV cache. */
  length = 0;
  /** The last of these tokens, at most REPEAT_HISTORY. */
  readonly recent: number[] = [];
  /** The token that the last step sampled. */
  sampled = 0;

  /** Records the tokens that enter in a step, and returns them. */
  enter({ tokens, start, prior }: BatchSequence): readonly number[] {
    const ids = tokens ?? [this.sampled];
    if (prior !== undefined) this.recent.splice(0, Infinity, ...prior);
    // If a sequence goes back to an earlier position, as in tests, drop the tokens after it.
    else this.recent.splice(Math.max(0, this.recent.length - (this.length - start)));
    this.recent.push(...ids);
    this.recent.splice(0, this.recent.length - REPEAT_HISTORY);
    this.length = start + ids.length;
    return ids;
  }
}
