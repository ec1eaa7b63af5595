/** Progress that tells how much is done, how fast it goes and how long it will take. */

import type { Terminal } from "./terminal.ts";
import { amountLine, Rate, type Unit } from "./transfer.ts";

/** The work to do. */
export interface Work {
  /** Stands before the bar; "" where a note has said it. */
  readonly label: string;
  readonly total: number;
  readonly unit: Unit;
}

/** Rates are those of the last 20 s: a step of a large model takes seconds. */
const SPAN = 20_000;

/** A bar and its figures, on a terminal alone. Dispose of it when the work is done. */
export class MeteredProgress implements Disposable {
  readonly #work: Work;
  readonly #progress: ReturnType<Terminal["progress"]>;
  readonly #rate = new Rate();

  constructor(work: Work, terminal: Terminal) {
    this.#work = work;
    this.#progress = terminal.progress(work.label, work.total);
  }

  /** `done` of the total are done. */
  update(done: number): void {
    const { total, unit } = this.#work;
    const rate = this.#rate.add(done, performance.now(), SPAN);
    this.#progress.update(done, amountLine({ done, total, rate }, unit));
  }

  /** Shows it now: the first step takes long. */
  announce(): void {
    this.#progress.announce();
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}
