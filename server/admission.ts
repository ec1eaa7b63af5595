/** How many answers may be generated or wait at a time. */

import { HttpError } from "./errors.ts";
import { plural } from "../engine/plural.ts";

/** Counts them. */
export class Admission {
  #inside = 0;

  /** `running` answers are generated at a time, and `waiting` more may be accepted. */
  constructor(readonly running: number, readonly waiting: number) {}

  /**
   * Lets `count` answers in; what is returned lets them out again, once.
   *
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
