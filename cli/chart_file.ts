/** `--chart FILE`: the charts of a benchmark as a picture. */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Report } from "../bench/report/report.ts";
import type { OutputFile } from "./output_file.ts";
import type { Terminal } from "./terminal.ts";

/** Parses the option: the file's name says what is written. */
export function chartFile(text: string): string {
  if (/\.(svg|png)$/i.test(text)) return text;
  throw new InvalidArgumentError("Expected a name that ends in .svg or .png.");
}

/**
 * Writes the charts of these reports, as far as they have any.
 *
 * @throws {UsageError} if the file cannot be written.
 */
export async function writeCharts(
  file: OutputFile,
  reports: readonly Report[],
  terminal: Terminal,
): Promise<void> {
  // Large packages draw: they are loaded here, so that nothing else waits for them.
  const { drawReports } = await import("../bench/report/charts/mod.ts");
  const svg = drawReports(reports);
  if (svg === undefined) {
    terminal.note(`${file.path} was not written: there is nothing to draw`);
    return;
  }
  file.write(
    /\.svg$/i.test(file.path) ? svg : (await import("../bench/report/charts/png.ts")).toPng(svg),
  );
}
