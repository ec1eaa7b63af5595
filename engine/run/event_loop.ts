/** The event loop's share of work that leaves it nothing to wait for, such as step after step. */

import { setImmediate } from "node:timers";

/** A pause of work that leaves the event loop nothing to do; what it throws ends the work. */
export type Pause = () => Promise<void>;

/** Longest time between two looks for signals, in ms, but for a step's own. A look takes about 1 ms. */
const SIGNAL_INTERVAL = 100;

/**
 * Passes of the loop until a token has left: one through its readers, one to the socket, and some for who
 * hands it on. With one alone, each token of a server was sent a step late. A pass takes about 2 µs.
 */
const DELIVERY_PASSES = 4;

/** Ends when all that was ready has run, but for what waits for signals, which may take longer. */
export async function deliver(): Promise<void> {
  for (let i = 0; i < DELIVERY_PASSES; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

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
    return idle ? new Promise((resolve) => setTimeout(resolve, 0)) : deliver();
  }
}

/** Longest time that a step on the processor keeps the event loop waiting, in ms. */
const BUSY_INTERVAL = 50;

/** Pauses of a step that is computed on the processor, so that Ctrl-C and timers are heard. */
export class StepPauses {
  #idled = performance.now();

  /** A pause for the event loop, where the last one was long ago. */
  next(): Promise<void> | undefined {
    if (performance.now() - this.#idled < BUSY_INTERVAL) return undefined;
    return new Promise((resolve) =>
      setTimeout(() => {
        this.#idled = performance.now();
        resolve();
      })
    );
  }
}

/** Pauses in which signals are heard; they throw the reason of `signal` once it is aborted. */
export function pausesFor(signal?: AbortSignal): Pause {
  const eventLoop = new EventLoop();
  return async () => {
    await eventLoop.yield();
    signal?.throwIfAborted();
  };
}
