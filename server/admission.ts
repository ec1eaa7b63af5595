/** Limits how many answers may be generated, or wait, at the same time. */

import { HttpError } from "./errors.ts";
import { plural } from "../engine/plural.ts";

/** Counts the accepted answers. */
export class Admission {
  #inside = 0;

  /**
   * @param running number of answers that are generated at the same time
   * @param waiting number of further answers that are accepted
   */
  constructor(readonly running: number, readonly waiting: number) {}

  /**
   * Accepts `count` answers.
   *
   * @returns a function that releases their places; calling it again has no effect
   * @throws {HttpError} 429 if there is no room for them now, 400 if there never will be.
   */
  enter(count: number): () => void {
    const most = this.running + this.waiting;
    if (count > most) {
      throw new HttpError(
        400,
        `Cannot answer ${count} prompts in one request: the limit is ${most}`,
        {
          param: "prompt",
        },
      );
    }
    if (this.#inside + count > most) {
      throw new HttpError(
        429,
        `Cannot accept the request: ${this.running} ${
          plural(this.running, "answer")
        } may run and ${this.waiting} wait; try again later`,
        { code: "queue_full", retryAfter: 1 },
      );
    }
    this.#inside += count;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= count;
    };
  }
}
