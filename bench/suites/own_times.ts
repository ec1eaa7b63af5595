/** Compares the times that a server reports for requests with those measured here. */

import type { Harness } from "../harness/harness.ts";
import { tpot, ttft } from "../harness/timings.ts";
import { TPOT, TTFT } from "../report/metrics.ts";
import type { Settings } from "../report/report.ts";
import { medianOf } from "../report/stats.ts";
import type { Served, Serving } from "../targets/target.ts";

/** The servings of a case, and the cells that name it in the table. */
interface Case {
  readonly cells: readonly string[];
  readonly settings: Settings;
  readonly runs: readonly Serving[];
}

/**
 * Adds the table of the cases in which the server reported its own times for all requests.
 * `columns` are the titles of `cells`.
 */
export function ownTimes(
  harness: Harness,
  columns: readonly string[],
  cases: readonly Case[],
): void {
  const told = cases.filter(({ runs }) =>
    runs.every(({ requests }) =>
      requests.length > 0 && requests.every(({ own }) => own !== undefined)
    )
  );
  if (told.length === 0) return;
  const table = harness.table(
    "The server's own times",
    [...columns, "Metric", "Measured here", "Reported by the server"].join(" | "),
  );
  for (const { cells, settings, runs } of told) {
    const here = harness.at({ ...settings, clock: "here" });
    const server = harness.at({ ...settings, clock: "server" });
    const each = (of: (served: Served) => number, least = 1) =>
      runs.map(({ requests }) =>
        medianOf(requests.filter(({ times }) => times.length >= least).map(of))
      );
    table.row(
      ...cells,
      "TTFT",
      here.measure(TTFT, each(ttft)),
      server.measure(TTFT, each(({ own }) => own!.prompt)),
    );
    // A single token has no TPOT.
    if (runs.some(({ requests }) => requests.every(({ times }) => times.length < 2))) continue;
    table.row(
      ...cells,
      "TPOT",
      here.measure(TPOT, each(tpot, 2)),
      server.measure(TPOT, each(({ own }) => own!.perToken, 2)),
    );
  }
  table.note(
    "Reported by the server: its own times for the same requests. Its prompt time does not include its queue, the network and HTTP.",
  );
}
