/** Ending an answer at a string that may come in pieces. */

import { RequestError } from "../errors.ts";

/** What to print of an answer so far. */
export interface StopResult {
  /** Text that no stop string can begin in any more. */
  readonly text: string;
  /** A stop string is complete; it and what follows it are not in `text`. */
  readonly stopped: boolean;
}

/**
 * Looks for stop strings in an answer, and holds back its end while that may be the beginning of
 * one. The outcome does not depend on how the answer was cut into pieces.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #pending = "";

  /** @throws {RequestError} if a stop string is empty: every answer would end before it began. */
  constructor(stops: readonly string[]) {
    if (stops.includes("")) throw new RequestError("Cannot stop at an empty string");
    this.#stops = stops;
  }

  /** Takes the next piece. After `stopped` there is nothing more to push. */
  push(piece: string): StopResult {
    if (this.#stops.length === 0) return { text: piece, stopped: false };
    const text = this.#pending + piece;
    const stop = this.#firstStop(text);
    if (stop !== undefined) {
      this.#pending = "";
      return { text: text.slice(0, stop), stopped: true };
    }
    const safe = text.length - this.#openLength(text);
    this.#pending = text.slice(safe);
    return { text: text.slice(0, safe), stopped: false };
  }

  /** The text held back, once no piece follows. */
  flush(): string {
    const pending = this.#pending;
    this.#pending = "";
    return pending;
  }

  /** Where the stop string begins that is complete first. */
  #firstStop(text: string): number | undefined {
    let first: { start: number; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (
        first === undefined || end < first.end || (end === first.end && start < first.start)
      ) first = { start, end };
    }
    return first?.start;
  }

  /** Length of the longest end of `text` that a stop string begins with. */
  #openLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}
