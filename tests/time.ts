/** Time in tests, independent of other programs: CPU time and scripted clocks. */

import process from "node:process";

/**
 * CPU seconds that this thread has used. Unlike wall-clock time, they do not grow while other
 * programs, or other tests that run at the same time, use the processor.
 */
export function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

/** CPU seconds of this thread that `work` takes. */
export function cpuSeconds(work: () => void): number {
  const before = threadSeconds();
  work();
  return threadSeconds() - before;
}

/** Until disposed, makes `performance.now()` return the `time` that the test sets. */
export class ScriptedClock implements Disposable {
  readonly #now = performance.now;
  /** The current time in ms. */
  time = 0;

  constructor() {
    performance.now = () => this.time;
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
  }
}

/** Until disposed, makes `setTimeout` call back without delay, and records the requested delays. */
export class HurriedTimers implements Disposable {
  readonly #setTimeout = globalThis.setTimeout;
  /** The requested delays in ms. */
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
