/** The event loop's share of work that leaves it nothing to wait for, such as step after step. */

import { setImmediate } from "node:timers";

/** Longest time between two looks for signals, in ms, but for a step's own. A look takes about 1 ms. */
const SIGNAL_INTERVAL = 100;

/**
 * Lets timers and readers run; a MessageChannel would starve the timers. Deno looks for signals only
 * where nothing is ready to run, or else once in dozens of passes of its loop: so now and then this
 * waits for one.
 */
export class EventLoop {
  #idled = performance.now();

  /** Ends when all that was ready has run. */
  yield(): Promise<void> {
    const now = performance.now();
    const idle = now - this.#idled >= SIGNAL_INTERVAL;
    if (idle) this.#idled = now;
    return new Promise((resolve) => {
      if (idle) setTimeout(resolve, 0);
      else setImmediate(resolve);
    });
  }
}
