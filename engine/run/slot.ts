/** What a backend on the processor remembers of the sequence in each slot. */

import { type BatchSequence, REPEAT_HISTORY } from "./runner.ts";

/** One slot, and what it knows of its sequence. */
export class Slot {
  /** How many tokens are in the KV cache. */
  length = 0;
  /** The last of them, at most REPEAT_HISTORY. */
  readonly recent: number[] = [];
  /** The token that the last step sampled. */
  sampled = 0;

  /** Notes the tokens that enter in a step, and returns them. */
  enter({ tokens, start, prior }: BatchSequence): readonly number[] {
    const ids = tokens ?? [this.sampled];
    if (prior !== undefined) this.recent.splice(0, Infinity, ...prior);
    // A sequence that goes back, e.g. in a test, forgets what came after.
    else this.recent.splice(Math.max(0, this.recent.length - (this.length - start)));
    this.recent.push(...ids);
    this.recent.splice(0, this.recent.length - REPEAT_HISTORY);
    this.length = start + ids.length;
    return ids;
  }
}
