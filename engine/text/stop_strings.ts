/** Ends an answer at a stop string, which may arrive in pieces. */

import { RequestError } from "../errors.ts";

/** The part of an answer that can be printed. */
export interface StopResult {
  /** Text that cannot be part of a stop string any more. */
  readonly text: string;
  /** Whether a stop string is complete. `text` contains neither it nor anything after it. */
  readonly stopped: boolean;
}

/**
 * Searches an answer for stop strings, and holds its end back while that may be the start of one.
 * The result does not depend on how the answer was split into pieces.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #pending = "";

  /**
   * @throws {RequestError} if one of them is not a string, or is empty, because every answer would
   * be empty.
   */
  constructor(stops: readonly string[]) {
    if (!Array.isArray(stops) || stops.some((stop) => typeof stop !== "string")) {
      throw new RequestError("Cannot stop at these values: each must be a string", {
        option: "stop",
      });
    }
    if (stops.includes("")) {
      throw new RequestError("Cannot stop at an empty string", { option: "stop" });
    }
    this.#stops = stops;
  }

  /** Adds the next piece. Do not call it after a result with `stopped`. */
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

  /** Returns the text held back. Call it after the last piece. */
  flush(): string {
    const pending = this.#pending;
    this.#pending = "";
    return pending;
  }

  /** Returns the start of the stop string that is complete first. */
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

  /** Returns the length of the longest end of `text` that is the start of a stop string. */
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
