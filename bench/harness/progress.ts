/** Progress of a suite: the cases begun, out of those planned. */

import type { RunOptions } from "../report/report.ts";

/** Progress that is reported while a suite runs. */
export interface SuiteProgress {
  /** The current step. */
  readonly label: string;
  /** Number of the current case, counted from 1; 0 before the first. */
  readonly case: number;
  /** Number of cases; undefined until the suite has planned them. */
  readonly cases: number | undefined;
  /** Completed share from 0 to 1, assuming cases of equal length; undefined if `cases` is. */
  readonly done: number | undefined;
}

/** Expected warm-ups per case if they end when steady: the minimum for that. */
const STEADY_WARM_UPS = 3;

/** Counts the cases of a suite, and the runs of interleaved cases. */
export class CaseCounter {
  #planned: number | undefined;
  /** Number of cases in earlier groups, and in this one. */
  #before = 0;
  #group = 0;
  #case = 0;
  /** Runs of the group (warm-ups and repetitions): begun, and expected. */
  #runs = 0;
  #expected = 1;
  #warmUps = 0;

  /** @param cases number of cases of the whole suite */
  plan(cases: number): void {
    this.#planned = cases;
  }

  /** Begins a group of cases whose runs are interleaved. */
  begin(cases: number, { warmup, repetitions }: Pick<RunOptions, "warmup" | "repetitions">): void {
    this.#before += this.#group;
    this.#group = cases;
    this.#runs = 0;
    this.#warmUps = cases * (warmup === "steady" ? STEADY_WARM_UPS : warmup);
    this.#expected = this.#warmUps + cases * repetitions;
  }

  /** Begins a run of the group's case `index`: a warm-up or a repetition. */
  run(index: number, warmsUp: boolean): void {
    this.#case = this.#before + index + 1;
    // The first repetition ends the warm-ups, whether or not there were as many as expected.
    this.#runs = warmsUp
      ? Math.min(this.#runs + 1, this.#warmUps)
      : Math.max(this.#runs, this.#warmUps) + 1;
  }

  /** The progress when the step `label` begins. */
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
