/** Time in tests, which other programs must not decide on: the processor's, and scripted clocks. */

import process from "node:process";

/**
 * Seconds that the processor has spent on this thread. Unlike the clock's they are no more where
 * other programs, or other tests beside this one, have the processor meanwhile.
 */
export function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

/** Seconds of the processor, of this thread, that `work` takes. */
export function cpuSeconds(work: () => void): number {
  const before = threadSeconds();
  work();
  return threadSeconds() - before;
}

/** While it lives, `performance.now()` tells what the test says. */
export class ScriptedClock implements Disposable {
  readonly #now = performance.now;
  /** ms. */
  time = 0;

  constructor() {
    performance.now = () => this.time;
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
  }
}

/** While it lives, `setTimeout` waits for nothing; it keeps how long it was to wait. */
export class HurriedTimers implements Disposable {
  readonly #setTimeout = globalThis.setTimeout;
  /** ms. */
  readonly waits: number[] = [];

  constructor() {
    globalThis.setTimeout = new Proxy(this.#setTimeout, {
      apply: (setTimeout, _, [callback, wait, ...args]) => {
        this.waits.push(wait);
        return setTimeout(callback, 0, ...args);
      },
    });
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#setTimeout;
  }
}
