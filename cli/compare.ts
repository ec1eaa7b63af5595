/** `tvllm compare A.json B.json…`: shows whether the results of reports differ, and by how much. */

import { type Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { basename } from "node:path";
import { z } from "zod";
import {
  compare,
  type Comparison,
  type Side,
  slowerThan,
} from "../bench/report/comparison/comparison.ts";
import { type Condition, CONDITIONS } from "../bench/report/comparison/conditions.ts";
import {
  comparisonCsv,
  comparisonMarkdown,
  whyNoInterval,
} from "../bench/report/comparison/views.ts";
import { configurationTexts, differingParts } from "../bench/report/configuration.ts";
import { percent } from "../bench/report/format.ts";
import { FORMAT, keyOf, type Report, reportSchema } from "../bench/report/report.ts";
import { readFailure } from "../engine/files/input_file.ts";
import { printable } from "../engine/files/quote.ts";
import { pageFile, writeComparisonPage } from "./chart_file.ts";
import { modelSpecs } from "./model_specs.ts";
import { CheckFailedError, UsageError } from "./exit_codes.ts";
import { addGlobalOptions } from "./options.ts";
import { FileReplacer } from "./file_replacer.ts";
import { openOutputFiles } from "./output_file.ts";
import { Terminal } from "./terminal.ts";

/** Limit of a report file in bytes: far more than all suites on many models produce. */
const MAX_REPORT_BYTES = 2 ** 28;

/** Adds the command to `program`. */
export function addCompare(program: Command): void {
  const command = program.command("compare")
    .summary("compare reports of bench")
    .description(
      "Compares reports, which are files that `tvllm bench --json` wrote. Compares each report with the baseline. To use several runs of the same version, join their files with commas: a1.json,a2.json. If only one file is given, compares the reports in it with the first one.",
    )
    .argument("<baseline>", "report to compare with", modelSpecs)
    .argument("[report...]", "reports to compare", several, [])
    .option(
      "--across <list>",
      `compare even if these differ: ${CONDITIONS.join(", ")}`,
      conditions,
    )
    .option("--only <list>", "compare only these metrics, such as tpot,ttft", metricIds)
    .option(
      "--fail-if-slower <percent>",
      'exit with code 7 if a verdict is "slower" and the slowdown exceeds this, such as 5%',
      percentage,
    )
    .option("--csv <file>", "write the comparison as CSV")
    .option("--html <file>", "write the comparison as a web page with a chart", pageFile)
    .option("--output <file>", "write the comparison as Markdown");
  // deno-lint-ignore tvllm/max-parameters -- commander's callback
  addGlobalOptions(command).action(async (a, b, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    using files = openOutputFiles(
      { csv: options.csv, html: options.html, output: options.output },
      { inputs: [a, ...b].flat(), replacer: new FileReplacer(), terminal },
    );
    const { only, failIfSlower } = options;
    const sides = sidesOf(a, b);
    if (only) refuseUnknown(only, sides.flat());
    const comparisons = sides.map(([first, second]) => {
      const across = [...options.across ?? [], ...(b.length === 0 ? acrossWithin(first) : [])];
      return comparing(() => compare(first, second, { across, ...(only && { only }) }));
    });
    const markdown = comparisonMarkdown(comparisons);
    terminal.write(markdown);
    files.output?.write(markdown);
    files.csv?.write(comparisonCsv(comparisons));
    if (files.html) await writeComparisonPage(files.html, comparisons);
    if (failIfSlower !== undefined) failIfAnySlower(comparisons, failIfSlower);
  });
}

/**
 * Parses an argument into a side, a list of one or more files, and appends it to the earlier sides.
 */
function several(text: string, earlier?: readonly (readonly string[])[]): readonly string[][] {
  return [...earlier ?? [], modelSpecs(text)].map((paths) => [...paths]);
}

/**
 * Returns the conditions that may differ between the sides of a single file: those of `bench ab`
 * were chosen to be compared, and otherwise the file's models and devices are compared.
 */
function acrossWithin({ reports }: Side): readonly Condition[] {
  const chosen = reports.every(({ interleaved }) => interleaved !== undefined);
  return chosen ? CONDITIONS : ["model", "machine"];
}

/** Returns the pairs to compare: the first side with each of the others. */
function sidesOf(a: readonly string[], b: readonly string[][]): [Side, Side][] {
  if (b.length === 0) {
    const [first, ...others] = sidesWithin(a.flatMap(readReports));
    if (others.length === 0) {
      throw new UsageError(
        `Cannot compare ${a.join()}: all its reports have the same model and configuration; name a second report`,
      );
    }
    return others.map((other) => [first!, other]);
  }
  const names = distinctNames([a, ...b]);
  const [first, ...others] = [a, ...b].map((paths, i) => ({
    name: names[i]!,
    reports: paths.flatMap(readReports),
  }));
  return others.map((other) => [first!, other]);
}

/** Returns a side for each model and configuration, or for each side of `bench ab`. */
function sidesWithin(reports: readonly Report[]): Side[] {
  const parts = differingParts(reports);
  const nameOf = (report: Report) =>
    [report.environment.model.name, ...configurationTexts(report, parts)].join(", ");
  const sideOf = (report: Report) =>
    report.interleaved?.side ?? `${report.environment.model.sha256} ${nameOf(report)}`;
  return [...Map.groupBy(reports, sideOf).values()].map((own) => ({
    name: own[0]!.interleaved?.side ?? nameOf(own[0]!),
    reports: own,
  }));
}

/** @throws {UsageError} if none of the reports has one of these metrics. */
function refuseUnknown(only: readonly string[], sides: readonly Side[]): void {
  const known = new Set(
    sides.flatMap(({ reports }) =>
      reports.flatMap(({ results }) => results.map(({ metric }) => metric))
    ),
  );
  const unknown = only.find((id) => !known.has(id));
  if (unknown === undefined) return;
  throw new UsageError(
    `Cannot compare only ${unknown}: no report has this metric; they have ${
      [...known].sort().join(", ")
    }`,
  );
}

/** Names the sides by their file names, or by their paths if two sides would have the same name. */
function distinctNames(sides: readonly (readonly string[])[]): string[] {
  const short = sides.map((paths) => paths.map((path) => basename(path)).join(", "));
  return new Set(short).size === short.length ? short : sides.map((paths) => paths.join(", "));
}

function readReportText(path: string): string {
  let failure: string;
  try {
    const { isFile, isFifo, size } = Deno.statSync(path);
    if ((isFile && size <= MAX_REPORT_BYTES) || isFifo) return Deno.readTextFileSync(path);
    failure = isFile ? `it has more than ${MAX_REPORT_BYTES} bytes` : "it is not a file";
  } catch (error) {
    failure = readFailure(error, path);
  }
  throw new UsageError(`Cannot read ${printable(path)}: ${failure}`);
}

/** Reads the reports in a file. */
function readReports(path: string): Report[] {
  const text = readReportText(path);
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`Cannot read ${printable(path)}: it is not JSON, so it is not a report`, {
      cause,
    });
  }
  if (!Array.isArray(data)) return [readReport(data, { path, at: [] })];
  const reports = data.map((one, i) => readReport(one, { path, at: [i] }));
  if (reports.length > 0) return reports;
  throw new UsageError(`Cannot compare ${printable(path)}: it has no report`);
}

/** @param at position of the report in the data of the file */
function readReport(
  data: unknown,
  { path, at }: { readonly path: string; readonly at: readonly number[] },
): Report {
  const parsed = reportSchema.safeParse(data);
  if (parsed.success) return parsed.data;
  const refuse = `Cannot compare ${printable(path)}`;
  const format = z.object({ format: z.string() }).safeParse(data);
  if (!format.success) {
    throw new UsageError(`${refuse}: it is not a report of tvllm bench --json`);
  }
  if (format.data.format !== FORMAT) {
    throw new UsageError(
      `${refuse}: its format is ${
        printable(format.data.format)
      }, but this tvllm reads ${FORMAT}; run the benchmark again`,
    );
  }
  const { path: within, message } = parsed.error.issues[0]!;
  const place = printable(z.core.toDotPath([...at, ...within]));
  throw new UsageError(`${refuse}: the report is damaged at ${place}: ${printable(message)}`);
}

function comparing(work: () => Comparison): Comparison {
  try {
    return work();
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message, { cause: error }) : error;
  }
}

/**
 * @param share largest slowdown that is allowed, as a fraction
 * @throws {CheckFailedError} if a verdict is "slower" and the slowdown exceeds `share`.
 * @throws {UsageError} if no result has a verdict.
 */
export function failIfAnySlower(comparisons: readonly Comparison[], share: number): void {
  const parts = comparisons.flatMap(({ parts }) => parts);
  if (parts.every(({ rows }) => rows.every(({ verdict }) => verdict === "unknown"))) {
    const reasons = new Set(parts.map(whyNoInterval));
    throw new UsageError(
      `Cannot use --fail-if-slower: no result has an interval: ${[...reasons].join("; ")}`,
    );
  }
  const slower = comparisons.flatMap((comparison) =>
    slowerThan(comparison, share).map((row) =>
      `${keyOf(row)} by ${(100 * row.slowdown!).toFixed(1)} % in ${comparison.b}`
    )
  );
  if (slower.length === 0) return;
  throw new CheckFailedError(
    `Check failed: slower by more than ${percent(share)}: ${slower.join("; ")}`,
  );
}

/** Parses a percentage: `5%` and `5` both give 0.05. */
export function percentage(text: string): number {
  const [, number] = /^(\d{1,6}(?:\.\d+)?) ?%?$/.exec(text.trim()) ?? [];
  if (number !== undefined) return Number(number) / 100;
  throw new InvalidArgumentError("Expected a percentage, as in 5%.");
}

function conditions(text: string): Condition[] {
  return text.split(",").map((part) => {
    const condition = CONDITIONS.find((one) => one === part.trim());
    if (condition !== undefined) return condition;
    throw new InvalidArgumentError(`Expected one or more of ${CONDITIONS.join(", ")}.`);
  });
}

function metricIds(text: string): string[] {
  const ids = text.split(",").map((part) => part.trim());
  if (ids.every((id) => /^[a-z0-9_]+$/.test(id))) return ids;
  throw new InvalidArgumentError("Expected ids of metrics, as in tpot,ttft.");
}
