/**
 * Reports and comparisons as a page in one file. It loads echarts, so import it only when needed.
 */

import { chartsOf, type RatioChart } from "../charts/chart.ts";
import type { Comparison, Part, Row } from "../comparison/comparison.ts";
import { configurationTexts, differingOptions } from "../configuration.ts";
import {
  conditionRows,
  isTheSame,
  notes,
  partTitle,
  ratioRow,
  summary,
} from "../comparison/views.ts";
import { cellTexts, limitRows, parameters } from "../markdown.ts";
import { keyOf, type Report } from "../report.ts";
import { details, escape, figures, links, note, page, section, table } from "./html.ts";

/** The reports below each other, with their charts. */
export function reportsPage(reports: readonly Report[]): string {
  const parts = differingOptions(reports);
  const sections = reports.map((report, i) => ({
    id: `report-${i + 1}`,
    title: [
      `${report.suite}, ${report.environment.model.name} on ${report.environment.device.description}`,
      ...configurationTexts(report, parts),
    ].join(", "),
    report,
  }));
  const title = reports.length === 1 ? `tvllm bench ${reports[0]!.suite}` : "tvllm bench";
  return page(title, [
    `<h1>${escape(title)}</h1>`,
    links(sections),
    ...sections.map(({ id, title, report }) => section(id, title, reportParts(report))),
  ]);
}

function reportParts(report: Report): string[] {
  const { complete, limits, environment, tables, results, warnings, checks, outputHash } = report;
  const h3 = (title: string) => `<h3>${escape(title)}</h3>`;
  return [
    ...(complete
      ? []
      : [note("**Cut off: the tables show only what was measured before the run stopped.**")]),
    figures(chartsOf(report)),
    ...tables.flatMap(({ title, columns, rows, notes }) => [
      h3(title),
      table({
        label: title,
        columns,
        rows: rows.map((row) => cellTexts(row, columns, results)),
      }),
      ...notes.map(note),
    ]),
    ...(checks.length === 0 ? [] : [
      h3("Checks"),
      table({
        label: "Checks",
        columns: ["Check", "Detail", "Status"],
        rows: checks.map(({ name, ok, detail }) => [name, detail, ok ? "ok" : "FAILED"]),
        classOf: ([, , status]) => status === "ok" ? "good" : "bad",
      }),
    ]),
    ...(warnings.length === 0 ? [] : [
      h3("Warnings"),
      `<ul>${warnings.map((warning) => `<li>${escape(warning)}</li>`).join("")}</ul>`,
    ]),
    ...(limits === null ? [] : [
      h3("Theoretical limits"),
      table({
        label: "Theoretical limits",
        columns: ["Limit", "Value", "Calculation"],
        rows: limitRows(limits, environment),
      }),
    ]),
    h3("Parameters"),
    table({ label: "Parameters", columns: ["Parameter", "Value"], rows: parameters(report) }),
    ...(outputHash === "" ? [] : [note(`Output check: ${outputHash}`)]),
  ];
}

/** Comparisons below each other; `conclusions` are sentences at the end of the page. */
export function comparisonsPage(
  comparisons: readonly Comparison[],
  conclusions: readonly string[] = [],
): string {
  const sections = comparisons.flatMap((comparison) =>
    comparison.parts.map((part) => ({ comparison, part }))
  ).map(({ comparison, part }, i) => ({
    id: `part-${i + 1}`,
    title: `${partTitle(part)}: ${comparison.b} against ${comparison.a}`,
    part,
  }));
  const title = comparisons.length === 1
    ? `${comparisons[0]!.b} against ${comparisons[0]!.a}`
    : "tvllm compare";
  return page(title, [
    `<h1>${escape(title)}</h1>`,
    links(sections),
    ...sections.map(({ id, title, part }) => section(id, title, partParts(part))),
    ...comparisons.flatMap(({ missing }) =>
      missing.length === 0 ? [] : [note(`Only on one side: ${missing.join(", ")}.`)]
    ),
    ...conclusions.map(note),
  ]);
}

function partParts(part: Part): string[] {
  const told = part.rows.filter((row) => !isTheSame(row));
  return [
    `<p>${escape(summary(part))}</p>`,
    figures(ratiosOf(told)),
    ...(told.length === 0 ? [] : [table({
      label: "Metrics",
      columns: ["Metric", "A", "B", "B / A", "Verdict"],
      rows: told.map(ratioRow),
      classOf: (row) => ({ faster: "good", slower: "bad" })[row.at(-1)!] ?? "",
    })]),
    ...notes(part).map(note),
    details(
      "Conditions",
      table({ label: "Conditions", columns: ["", "A", "B"], rows: conditionRows(part) }),
    ),
  ];
}

/** The ratios that have an interval; all others can be read in the table. */
function ratiosOf(rows: readonly Row[]): RatioChart[] {
  const ratios = rows.flatMap((row) =>
    row.ratio === undefined || row.interval === undefined
      ? []
      : [{ name: keyOf(row), value: row.ratio, interval: row.interval }]
  );
  return ratios.length === 0 ? [] : [{ kind: "ratios", title: "B / A", ratios }];
}
