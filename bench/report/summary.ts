/** Tables that show several models, or several configurations of one, one per row. */

import { configurationColumns } from "./configuration.ts";
import { text } from "./format.ts";
import { cellTexts, grid } from "./markdown.ts";
import { keyOf, type Report, type RunOptions, type Settings } from "./report.ts";

/** A column with a result of each model's report. */
export interface SummaryColumn {
  readonly title: string;
  readonly metric: string;
  readonly settings?: Settings | ((run: RunOptions) => Settings);
}

/** A suite, and what is shown of its reports. */
interface Summarized {
  readonly name: string;
  readonly summaryColumns?: readonly SummaryColumn[];
  readonly stackedTable?: string;
}

/**
 * A table in markdown for each suite that was run with several models, or with several
 * configurations of one.
 */
export function summaries(reports: readonly Report[], suites: readonly Summarized[]): string[] {
  return suites.flatMap(({ name, summaryColumns, stackedTable }) => {
    const own = reports.filter(({ suite }) => suite === name);
    if (own.length < 2) return [];
    if (stackedTable !== undefined) return [stacked(own, stackedTable)];
    if (summaryColumns === undefined) return [];
    const configuration = configurationColumns(own);
    const rows = own.map((report) => [
      ...[report.environment.model.name, report.environment.model.formats[0] ?? ""],
      ...configuration.map(({ cell }) => cell(report)),
      ...summaryColumns.map((column) => cell(report, column)),
    ]);
    const head = [
      ...["Model", "Format"],
      ...[...configuration, ...summaryColumns].map(({ title }) => title),
    ];
    return [`# Results of ${name}\n\n${grid(head, rows)}\n`];
  });
}

/** The table `title` with its rows from all these reports. */
function stacked(reports: readonly Report[], title: string): string {
  let head: readonly string[] = [];
  const rows = reports.flatMap(({ tables, results }) => {
    const table = tables.find((table) => table.title === title);
    if (table === undefined) return [];
    head = table.columns;
    return table.rows.map((cells) => cellTexts(cells, table.columns, results));
  });
  return `# Results of ${reports[0]!.suite}\n\n${grid([...head], rows)}\n`;
}

function cell({ results, run }: Report, { metric, settings = {} }: SummaryColumn): string {
  const key = keyOf({
    metric,
    settings: typeof settings === "function" ? settings(run) : settings,
  });
  const result = results.find((result) => keyOf(result) === key);
  return result === undefined ? "-" : text(result);
}
