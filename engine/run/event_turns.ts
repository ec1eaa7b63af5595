/** Turns of the event loop between steps that leave it nothing to wait for. */

import { setImmediate } from "node:timers";

/** Longest time without a look for signals in ms, but for that of a step. A look takes about 1 ms. */
const SIGNAL_INTERVAL = 100;

/**
 * Gives timers and readers their turn; a MessageChannel would starve the timers. Deno hears of
 * signals only where nothing is ready to run, else once in dozens of turns: now and then a turn
 * waits for that.
 */
export class EventTurns {
  #idled = performance.now();

  next(): Promise<void> {
    const now = performance.now();
    const idle = now - this.#idled >= SIGNAL_INTERVAL;
    if (idle) this.#idled = now;
    return new Promise((resolve) => {
      if (idle) setTimeout(resolve, 0);
      else setImmediate(resolve);
    });
  }
}
