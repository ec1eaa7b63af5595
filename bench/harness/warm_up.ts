/** Decides when a case is warmed up. */

import type { Report, RunOptions } from "../report/report.ts";

/** Warm-ups are steady if the times of this many runs in a row differ by at most this share. */
const STEADY_RUNS = 3;
const STEADY = 0.03;
const MOST_WARM_UPS = 5;

/** The warm-ups of one case: a fixed number, or until they are steady. */
export class WarmUp {
  readonly #times: number[] = [];

  constructor(readonly wanted: RunOptions["warmup"]) {}

  get done(): boolean {
    return this.wanted === "steady"
      ? this.#times.length >= MOST_WARM_UPS || this.#spread <= STEADY
      : this.#times.length >= this.wanted;
  }

  /** Adds the duration of a warm-up run. */
  add(milliseconds: number): void {
    this.#times.push(milliseconds);
  }

  /** The entry of the report. */
  summary(label: string): Report["warmUps"][number] {
    const spread = this.#spread;
    return {
      case: label,
      runs: this.#times.length,
      steady: spread <= STEADY,
      ...(spread < Infinity && { spread }),
    };
  }

  /**
   * The longest of the last runs divided by the shortest, minus 1; Infinity if there are too few.
   */
  get #spread(): number {
    const last = this.#times.slice(-STEADY_RUNS);
    return last.length < STEADY_RUNS ? Infinity : Math.max(...last) / Math.min(...last) - 1;
  }
}
