/** Several models in one table, a row a model. */

import { text } from "./format.ts";
import { grid } from "./markdown.ts";
import { keyOf, type Report, type RunOptions, type Settings } from "./report.ts";

/** A result of each model's report, by its column's title. */
export interface SummaryColumn {
  readonly title: string;
  readonly metric: string;
  readonly settings?: Settings | ((run: RunOptions) => Settings);
}

/** What is shown of a suite's reports. */
interface Summarized {
  readonly name: string;
  readonly summaryColumns?: readonly SummaryColumn[];
}

/** A table in markdown for each suite that several models were measured with. */
export function summaries(reports: readonly Report[], suites: readonly Summarized[]): string[] {
  return suites.flatMap(({ name, summaryColumns }) => {
    const own = reports.filter(({ suite }) => suite === name);
    if (own.length < 2 || summaryColumns === undefined) return [];
    const rows = own.map((report) => [
      ...[report.environment.model.name, report.environment.model.formats[0] ?? ""],
      ...summaryColumns.map((column) => cell(report, column)),
    ]);
    const head = ["Model", "Format", ...summaryColumns.map(({ title }) => title)];
    return [`# Results of ${name}\n\n${grid(head, rows)}\n`];
  });
}

function cell({ results, run }: Report, { metric, settings = {} }: SummaryColumn): string {
  const key = keyOf({
    metric,
    settings: typeof settings === "function" ? settings(run) : settings,
  });
  const result = results.find((result) => keyOf(result) === key);
  return result === undefined ? "-" : text(result);
}
