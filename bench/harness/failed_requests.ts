/** The requests that failed while a suite measured a server: how many, in which cases, and why. */

import { plural } from "../../engine/plural.ts";
import { type Metric, REQUESTS_FAILED } from "../report/metrics.ts";
import type { FailedRequest } from "../targets/target.ts";
import type { Recorder } from "./recorder.ts";

/** Number of reasons for failures that are shown. */
const SHOWN_REASONS = 3;

/** Repetitions that are left out because one of their requests failed. */
const REPETITIONS_LEFT_OUT: Metric = { id: "repetitions_left_out", unit: "" };

interface FailedCase {
  readonly failures: FailedRequest[];
  repetitions: number;
}

/** The failures of a run, by case. */
export class FailedRequests {
  readonly #cases = new Map<string, FailedCase>();

  /**
   * Adds failures of a case.
   *
   * @param counts whether they happened in a repetition, which is then left out, and not in a
   * warm-up
   */
  add(name: string, failures: readonly FailedRequest[], counts: boolean): void {
    const known = this.#cases.get(name) ?? { failures: [], repetitions: 0 };
    known.failures.push(...failures);
    if (counts) known.repetitions++;
    this.#cases.set(name, known);
  }

  /** Adds a table to the report if there were failures. */
  write(recorder: Recorder): void {
    if (this.#cases.size === 0) return;
    const table = recorder.table(
      "Failed requests",
      "Case | Failed requests | Repetitions left out | Reason",
    );
    for (const [name, { failures, repetitions }] of this.#cases) {
      const at = recorder.at({ case: name });
      table.row(
        name,
        at.value(REQUESTS_FAILED, failures.length),
        at.value(REPETITIONS_LEFT_OUT, repetitions),
        reasonsOf(failures),
      );
    }
    table.note(
      "If a request fails, its repetition is left out of all figures, for all cases that are interleaved with it. Failed requests of warm-ups are counted too.",
    );
  }
}

/** The most frequent reasons, each with its count. */
export function reasonsOf(failures: readonly FailedRequest[]): string {
  const counts = [...Map.groupBy(failures, ({ reason }) => reason)]
    .map(([reason, of]) => [reason.replaceAll(/[\s|]+/g, " "), of.length] as const)
    .sort(([, a], [, b]) => b - a);
  const shown = counts.slice(0, SHOWN_REASONS).map(([reason, count]) => `${count} × ${reason}`);
  const more = counts.length - SHOWN_REASONS;
  return shown.join("; ") + (more > 0 ? `; and ${more} other ${plural(more, "reason")}` : "");
}
