/** A comparison as markdown and as CSV. */

import { plural } from "../../../engine/plural.ts";
import { toCsvLines } from "../csv.ts";
import { text } from "../format.ts";
import { grid } from "../markdown.ts";
import { keyOf, type Report } from "../report.ts";
import { LEAST_INTERVAL_SAMPLES } from "../stats.ts";
import type { Comparison, Part, Row } from "./comparison.ts";

/** Comparisons as markdown, to paste into an issue or a pull request. */
export function comparisonMarkdown(comparisons: readonly Comparison[]): string {
  const parts = comparisons.flatMap((comparison) => [
    `# ${comparison.b} against ${comparison.a}`,
    ...comparison.parts.flatMap(partMarkdown),
    ...(comparison.missing.length === 0
      ? []
      : [`Only on one side: ${comparison.missing.join(", ")}.`]),
  ]);
  return `${parts.join("\n\n")}\n`;
}

function partMarkdown(part: Part): string[] {
  const rows = part.rows.filter((row) => !isTheSame(row)).map(ratioRow);
  return [
    `## ${partTitle(part)}: ${summary(part)}`,
    grid(["", "A", "B"], conditionRows(part)),
    grid(["Metric", "A", "B", "B / A", "Verdict"], rows),
    notes(part).join("\n\n"),
  ];
}

/** The suite, and the configuration if the sides have several. */
export function partTitle({ suite, configuration }: Part): string {
  return configuration === "" ? suite : `${suite}, ${configuration}`;
}

/** A row of the table of metrics. */
export function ratioRow(row: Row): string[] {
  return [
    keyOf(row),
    text({ value: row.a, unit: row.unit }),
    text({ value: row.b, unit: row.unit }),
    ratioText(row),
    row.verdict === "unknown" ? "-" : row.verdict,
  ];
}

/** Whether both sides have the same value and no interval, such as a count. */
export function isTheSame({ a, b, verdict }: Row): boolean {
  return a === b && verdict === "unknown";
}

/** The number of results with each verdict. */
export function summary({ rows }: Part): string {
  const counts = Map.groupBy(rows, ({ verdict }) => verdict);
  const said = (["slower", "faster", "higher", "lower", "no difference shown"] as const)
    .flatMap((verdict) => {
      const count = counts.get(verdict)?.length ?? 0;
      return count === 0 ? [] : [`${count} ${verdict}`];
    });
  return said.length === 0 ? "no result can be judged" : said.join(", ");
}

function ratioText({ ratio, interval }: Row): string {
  if (ratio === undefined) return "-";
  const spread = interval === undefined
    ? ""
    : ` [${interval.map((end) => end.toFixed(3)).join(", ")}]`;
  return ratio.toFixed(3) + spread;
}

/** The rows that describe the two sides and their differences. */
export function conditionRows({ a, b, differences }: Part): string[][] {
  const model = ({ environment: { model, device } }: Report) =>
    `${model.name}, ${model.formats[0]}, on ${device.description}`;
  const dates = (reports: readonly Report[]) => {
    const sorted = reports.map(({ run }) => run.date).sort();
    return sorted.length === 1 ? sorted[0]! : `${sorted[0]} to ${sorted.at(-1)}`;
  };
  return [
    ["Measured", model(a[0]!), model(b[0]!)],
    ["Runs", runs(a), runs(b)],
    ["Date", dates(a), dates(b)],
    ["Output check", outputs(a), outputs(b)],
    ...differences.map(({ name, a, b }) => [name, a, b]),
  ];
}

function runs(reports: readonly Report[]): string {
  const repetitions = [...new Set(reports.map(({ run }) => run.repetitions))].join(" or ");
  return `${reports.length} with ${repetitions} repetitions`;
}

function outputs(reports: readonly Report[]): string {
  return [...new Set(reports.map(({ outputHash }) => outputHash))].join(", ");
}

/** Sentences on how reliable the comparison is. */
export function notes(part: Part): string[] {
  const { a, b, paired, rows, unmatched } = part;
  const all = [...a, ...b];
  const judged = rows.some(({ verdict }) => verdict !== "unknown");
  const same = rows.filter(isTheSame).length;
  const several = a.length + b.length > 2;
  return [
    paired
      ? "A and B were interleaved: B / A is the median of the ratios within a repetition."
      : several
      ? "The interval of B / A is computed from the spread of the runs of each side, or with fewer than six runs in all, from the spread of their repetitions."
      : "A and B ran at different times, so B / A includes whatever changed on the machine between them. Its interval assumes that runs differ 2.5 times as much as the repetitions of one run. Give several runs of a side, separated by commas, to measure how much they differ, or interleave the sides with `tvllm bench ab`.",
    ...(!judged ? [`**No result has an interval: ${whyNoInterval(part)}.**`] : [
      `Intervals are 95 % intervals: a measure without a difference is called different by chance in ${
        paired ? "at most" : "about"
      } 1 of 20 comparisons. "-": no verdict, as there is no interval.`,
    ]),
    ...(differsInOutput(part)
      ? ["**The sides generated different tokens: the faster one may be wrong.**"]
      : []),
    ...(same === 0
      ? []
      : [`Not listed, because equal and without an interval: ${same} ${plural(same, "result")}.`]),
    ...(unmatched === 0 ? [] : [`Only on one side: ${unmatched} ${plural(unmatched, "result")}.`]),
    ...new Set(all.flatMap(({ complete, checks }) => [
      ...(complete ? [] : ["**A run was cut off.**"]),
      ...checks.filter(({ ok }) => !ok)
        .map(({ name, detail }) => `**A check failed: ${name} (${detail}).**`),
    ])),
  ];
}

/** Why none of the results has an interval, as the end of a sentence. */
export function whyNoInterval({ a, b, paired, rows }: Part): string {
  if (rows.length === 0) return "the sides have no result in common";
  if (paired) return "at least seven rounds are needed (raise --budget of bench ab)";
  const keys = new Set(rows.map(keyOf));
  const counts = [...a, ...b].flatMap(({ results }) =>
    results.flatMap((result) =>
      result.samples === undefined || !keys.has(keyOf(result)) ? [] : [result.samples.length]
    )
  );
  if (counts.length === 0) {
    return "they have no value for each repetition; give several runs of a side, separated by commas, at least six in all";
  }
  return Math.min(...counts) < LEAST_INTERVAL_SAMPLES
    ? `at least six repetitions are needed (-r ${LEAST_INTERVAL_SAMPLES})`
    : "their values are 0 or do not vary";
}

/** Whether the sides generated different tokens for the same workload and model. */
function differsInOutput({ a, b, differences }: Part): boolean {
  return differences.every(({ condition }) => condition !== "workload" && condition !== "model") &&
    new Set([...a, ...b].map(({ outputHash }) => outputHash)).size > 1;
}

/** Comparisons as CSV, one line per result. */
export function comparisonCsv(comparisons: readonly Comparison[]): string {
  const head = "a,b,suite,model,configuration,metric,unit,value_a,value_b,ratio,low,high,verdict"
    .split(",");
  const lines = comparisons.flatMap((comparison) =>
    comparison.parts.flatMap(({ suite, configuration, a, rows }) =>
      rows.map((row) => [
        ...[comparison.a, comparison.b, suite, a[0]!.environment.model.name, configuration],
        ...[
          keyOf(row),
          row.unit,
          row.a,
          row.b,
          row.ratio,
          row.interval?.[0],
          row.interval?.[1],
          row.verdict,
        ],
      ])
    )
  );
  return toCsvLines([head, ...lines]);
}
