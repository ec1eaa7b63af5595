/** How far a suite is: cases begun, of those that it has planned. */

import type { RunOptions } from "../report/report.ts";

/** What is told of a suite while it runs. */
export interface SuiteProgress {
  /** What happens now. */
  readonly label: string;
  /** The case that it belongs to, counted from 1; 0 before the first. */
  readonly case: number;
  /** How many cases there are; undefined until the suite knows. */
  readonly cases: number | undefined;
  /** How much is done, from 0 to 1, if all cases take as long; undefined as `cases` is. */
  readonly done: number | undefined;
}

/** Warm-ups that a case takes where they end when they are steady: as many as that needs at least. */
const STEADY_WARM_UPS = 3;

/** Counts the cases of a suite, and the runs of those that are interleaved. */
export class CaseCounter {
  #planned: number | undefined;
  /** Cases of earlier groups, and of this one. */
  #before = 0;
  #group = 0;
  #case = 0;
  /** Runs of the group: warm-ups and repetitions, begun and expected. */
  #runs = 0;
  #expected = 1;
  #warmUps = 0;

  /** @param cases that there will be in all */
  plan(cases: number): void {
    this.#planned = cases;
  }

  /** A group of cases begins, whose runs are interleaved. */
  begin(cases: number, { warmup, repetitions }: Pick<RunOptions, "warmup" | "repetitions">): void {
    this.#before += this.#group;
    this.#group = cases;
    this.#runs = 0;
    this.#warmUps = cases * (warmup === "steady" ? STEADY_WARM_UPS : warmup);
    this.#expected = this.#warmUps + cases * repetitions;
  }

  /** A run of the group's case `index` begins; it warms up, or it counts. */
  run(index: number, warmsUp: boolean): void {
    this.#case = this.#before + index + 1;
    // However many warm-ups there were, those that were expected are over.
    this.#runs = warmsUp
      ? Math.min(this.#runs + 1, this.#warmUps)
      : Math.max(this.#runs, this.#warmUps) + 1;
  }

  /** What is told when `label` happens. */
  at(label: string): SuiteProgress {
    const part = this.#group * Math.max(0, this.#runs - 1) / Math.max(1, this.#expected);
    return {
      label,
      case: this.#case,
      cases: this.#planned,
      done: this.#planned && Math.min(1, (this.#before + part) / this.#planned),
    };
  }
}
