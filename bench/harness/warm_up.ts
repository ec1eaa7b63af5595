/** When warm-ups suffice. */

import type { Report, RunOptions } from "../report/report.ts";

/** Warm-ups have settled when the times of this many in a row differ by no more than this. */
const STEADY_RUNS = 3;
const STEADY = 0.03;
const MOST_WARM_UPS = 5;

/** The warm-ups of one case: as many as wanted, or until they are steady. */
export class WarmUp {
  readonly #times: number[] = [];

  constructor(readonly wanted: RunOptions["warmup"]) {}

  get done(): boolean {
    return this.wanted === "steady"
      ? this.#times.length >= MOST_WARM_UPS || this.#spread <= STEADY
      : this.#times.length >= this.wanted;
  }

  /** Adds how long one took. */
  add(milliseconds: number): void {
    this.#times.push(milliseconds);
  }

  /** What the report says of them. */
  summary(label: string): Report["warmUps"][number] {
    const spread = this.#spread;
    return {
      case: label,
      runs: this.#times.length,
      steady: spread <= STEADY,
      ...(spread < Infinity && { spread }),
    };
  }

  /** How much longer the longest of the last runs took than the shortest; Infinity of too few. */
  get #spread(): number {
    const last = this.#times.slice(-STEADY_RUNS);
    return last.length < STEADY_RUNS ? Infinity : Math.max(...last) / Math.min(...last) - 1;
  }
}
