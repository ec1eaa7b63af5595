/** Progress of a benchmark. It is shown only on a terminal, and removed at the end. */

import type { SuiteProgress } from "../bench/harness/progress.ts";
import type { Race } from "../bench/harness/race.ts";
import type { Terminal } from "./terminal.ts";
import { counted, duration } from "./transfer.ts";

/** The suite that is running, and its position among all suites. */
export interface SuitePlace {
  readonly name: string;
  /** Its number, counted from 1. */
  readonly number: number;
  /** The number of suites in total. */
  readonly suites: number;
}

/** Until this fraction is done, the time left is not estimated. */
const FORESEEABLE = 0.02;

/** The progress line of one suite. Dispose of it when the suite is done. */
export class SuiteLine implements Disposable {
  readonly #place: SuitePlace;
  readonly #terminal: Terminal;
  readonly #progress: ReturnType<Terminal["progress"]>;
  readonly #started: number;
  /** Start of the first case. The time before it is left out when the time left is estimated. */
  #casesStarted: number | undefined;

  constructor(place: SuitePlace, terminal: Terminal) {
    this.#place = place;
    this.#terminal = terminal;
    this.#started = performance.now();
    this.#progress = terminal.progress(`bench ${place.name}`, 1);
    this.#progress.announce();
  }

  /** Shows the progress, and prints its label with -v. */
  update(progress: SuiteProgress): void {
    this.#terminal.detail(`${this.#place.name}: ${progress.label}`);
    if (progress.case > 0) this.#casesStarted ??= performance.now();
    this.#progress.update(progress.done, () => this.#text(progress));
  }

  /**
   * Returns text such as `suite 2 of 3, case 3 of 7, 12 s, 40 s left: context of 128, 2 of 7`. The
   * label is last because the end may be cut off.
   */
  #text({ label, case: number, cases, done = 0 }: SuiteProgress): string {
    const { number: suite, suites } = this.#place;
    const now = performance.now();
    const spent = now - (this.#casesStarted ?? now);
    const parts = [
      suites > 1 && `suite ${suite} of ${suites}`,
      number > 0 && `case ${number}${cases === undefined ? "" : ` of ${cases}`}`,
      duration((now - this.#started) / 1000),
      done >= FORESEEABLE && done < 1 && `${duration(spent * (1 / done - 1) / 1000)} left`,
    ];
    return `${parts.filter((part) => part !== false).join(", ")}: ${label}`;
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}

/** The progress line of `bench ab`, which ends when the result is clear or its time is over. */
export class RaceLine implements Disposable {
  readonly #metric: string;
  readonly #budget: number;
  readonly #progress: ReturnType<Terminal["progress"]>;

  /** @param budget maximum time of the rounds, in ms */
  constructor(metric: string, budget: number, terminal: Terminal) {
    this.#metric = metric;
    this.#budget = budget;
    this.#progress = terminal.progress("bench ab");
    this.#progress.update(undefined, "warming up, and the first round");
    this.#progress.announce();
  }

  /** Shows the state after a round. */
  update({ rounds, ratio, elapsed }: Pick<Race, "rounds" | "ratio" | "elapsed">): void {
    const started = performance.now() - elapsed;
    this.#progress.update(undefined, () => {
      const spent = performance.now() - started;
      return `${counted(rounds, "round")}, ${duration(spent / 1000)}, ` +
        `${duration(Math.max(0, this.#budget - spent) / 1000)} left at most: ` +
        `B / A of ${this.#metric} ${ratio.toFixed(3)}`;
    });
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}
