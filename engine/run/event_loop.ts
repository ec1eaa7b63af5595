/** Lets the event loop run during work that would block it, such as one step after another. */

import { setImmediate } from "node:timers";

/** Pauses work that would block the event loop. If it throws, the work ends. */
export type Pause = () => Promise<void>;

/** Longest time between two checks for signals, in ms, plus one step. A check takes about 1 ms. */
const SIGNAL_INTERVAL = 100;

/**
 * Passes of the event loop until a token has been sent: one to resume its readers, one to write to
 * the socket, and some for the code in between that forwards it. With only one pass, the server
 * sent each token a step late. A pass takes about 2 µs.
 */
const DELIVERY_PASSES = 4;

/** Resolves when all tasks that were ready have run; handlers of signals may run later. */
export async function deliver(): Promise<void> {
  for (let i = 0; i < DELIVERY_PASSES; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/**
 * Lets timers and readers run. (A MessageChannel would starve the timers.) Deno checks for signals
 * only if nothing is ready to run, or once in dozens of passes of its loop. So every
 * SIGNAL_INTERVAL, `yield` waits for a timer instead.
 */
export class EventLoop {
  #idled = performance.now();

  /** Resolves when all tasks that were ready have run, and every SIGNAL_INTERVAL also signals. */
  yield(): Promise<void> {
    const now = performance.now();
    const idle = now - this.#idled >= SIGNAL_INTERVAL;
    if (idle) this.#idled = now;
    return idle ? new Promise((resolve) => setTimeout(resolve, 0)) : deliver();
  }
}

/** Longest time that a step on the processor blocks the event loop, in ms. */
const BUSY_INTERVAL = 50;

/** Pauses in a step that the processor computes, so that Ctrl-C and timers are handled. */
export class StepPauses {
  #idled = performance.now();

  /** Returns a pause for the event loop; undefined if the last one ended within BUSY_INTERVAL. */
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

/** Returns a pause that lets signals be handled and throws the reason of an aborted `signal`. */
export function pausesFor(signal?: AbortSignal): Pause {
  const eventLoop = new EventLoop();
  return async () => {
    await eventLoop.yield();
    signal?.throwIfAborted();
  };
}
