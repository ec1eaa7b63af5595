/** How far a benchmark is: on a terminal alone, and gone when it is done. */

import type { SuiteProgress } from "../bench/harness/progress.ts";
import type { Race } from "../bench/harness/race.ts";
import type { Terminal } from "./terminal.ts";
import { counted, duration } from "./transfer.ts";

/** The suite that runs, of those that will. */
export interface SuitePlace {
  readonly name: string;
  /** Counted from 1. */
  readonly number: number;
  readonly suites: number;
}

/** Before this part is done, nobody knows how long the rest will take. */
const FORESEEABLE = 0.02;

/** The line of one suite. Dispose of it when the suite is done. */
export class SuiteLine implements Disposable {
  readonly #place: SuitePlace;
  readonly #terminal: Terminal;
  readonly #progress: ReturnType<Terminal["progress"]>;
  readonly #started: number;
  /** When the first case began: what comes before it tells nothing of the cases. */
  #casesStarted: number | undefined;

  constructor(place: SuitePlace, terminal: Terminal) {
    this.#place = place;
    this.#terminal = terminal;
    this.#started = performance.now();
    this.#progress = terminal.progress(`bench ${place.name}`, 1);
    this.#progress.announce();
  }

  /** Shows what happens, and tells it with -v. */
  update(progress: SuiteProgress): void {
    this.#terminal.detail(`${this.#place.name}: ${progress.label}`);
    if (progress.case > 0) this.#casesStarted ??= performance.now();
    this.#progress.update(progress.done, () => this.#text(progress));
  }

  /** `suite 2 of 3, case 3 of 7, 12 s, 40 s left: context of 128, 2 of 7`: what may be cut comes last. */
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

/** The line of `bench ab`, which ends by itself, or when its time is over. */
export class RaceLine implements Disposable {
  readonly #metric: string;
  readonly #budget: number;
  readonly #progress: ReturnType<Terminal["progress"]>;
  /** When the first round was over: what warmed up before does not count. */
  #started: number | undefined;

  /** @param budget ms that the rounds may take */
  constructor(metric: string, budget: number, terminal: Terminal) {
    this.#metric = metric;
    this.#budget = budget;
    this.#progress = terminal.progress("bench ab");
    this.#progress.update(undefined, "warming up, and the first round");
    this.#progress.announce();
  }

  /** Shows how it stands after a round. */
  update({ rounds, ratio }: Pick<Race, "rounds" | "ratio">): void {
    const started = this.#started ??= performance.now();
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
