/**
 * `--chart FILE` and `--html FILE`: write a benchmark's charts as an image, and its report as a
 * page.
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Comparison } from "../bench/report/comparison/comparison.ts";
import type { Report } from "../bench/report/report.ts";
import type { OutputFile } from "./output_file.ts";
import type { Terminal } from "./terminal.ts";

/** Parses the value of `--chart`. The extension of the name selects the format. */
export function chartFile(text: string): string {
  if (/\.(svg|png)$/i.test(text)) return text;
  throw new InvalidArgumentError("Expected a name that ends in .svg or .png.");
}

/** Parses the value of `--html`. */
export function pageFile(text: string): string {
  if (/\.html?$/i.test(text)) return text;
  throw new InvalidArgumentError("Expected a name that ends in .html.");
}

/** Writes the reports as a page. */
export async function writePage(file: OutputFile, reports: readonly Report[]): Promise<void> {
  if (reports.length === 0) return;
  // Imported here because the charts of the page need large packages.
  const { reportsPage } = await import("../bench/report/html/mod.ts");
  file.write(reportsPage(reports));
}

/** Writes the comparisons as a page; `conclusions` are sentences at its end. */
export async function writeComparisonPage(
  file: OutputFile,
  comparisons: readonly Comparison[],
  conclusions: readonly string[] = [],
): Promise<void> {
  const { comparisonsPage } = await import("../bench/report/html/mod.ts");
  file.write(comparisonsPage(comparisons, conclusions));
}

/**
 * Writes the charts of these reports. If there is nothing to draw, prints a note instead.
 *
 * @throws {UsageError} if the file cannot be written.
 */
export async function writeCharts(
  file: OutputFile,
  reports: readonly Report[],
  terminal: Terminal,
): Promise<void> {
  using progress = terminal.progress("Drawing the charts");
  // Drawing needs large packages: they are imported here so that other commands start faster.
  const { drawReports } = await import("../bench/report/charts/mod.ts");
  progress.update(undefined);
  const svg = drawReports(reports, { dark: /\.dark\.(svg|png)$/i.test(file.path) });
  progress.update(undefined);
  if (svg === undefined) {
    terminal.note(`${file.path} was not written: the results have nothing to draw`);
    return;
  }
  file.write(
    /\.svg$/i.test(file.path) ? svg : (await import("../bench/report/charts/png.ts")).toPng(svg),
  );
}
