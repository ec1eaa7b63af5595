/** Progress that shows the amount done, the rate and the time left. */

import type { Terminal } from "./terminal.ts";
import { amountLine, Rate, type Unit } from "./transfer.ts";

/** The work to do. */
export interface Work {
  /** The label before the bar; "" if a note has already named the work. */
  readonly label: string;
  readonly total: number;
  readonly unit: Unit;
}

/**
 * Time over which rates are measured, in ms. It is long because a step of a large model takes
 * seconds.
 */
const SPAN = 20_000;

/** A bar with its figures; only on a terminal. Dispose of it when the work is done. */
export class MeteredProgress implements Disposable {
  readonly #work: Work;
  readonly #progress: ReturnType<Terminal["progress"]>;
  readonly #rate = new Rate();

  constructor(work: Work, terminal: Terminal) {
    this.#work = work;
    this.#progress = terminal.progress(work.label, work.total);
  }

  /** @param done units of the total that are done */
  update(done: number): void {
    const { total, unit } = this.#work;
    const rate = this.#rate.add(done, performance.now(), SPAN);
    this.#progress.update(done, amountLine({ done, total, rate }, unit));
  }

  /** Shows the bar without the initial delay. Use this if the first step takes long. */
  announce(): void {
    this.#progress.announce();
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}
