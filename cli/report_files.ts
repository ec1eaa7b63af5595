/** The files that `tvllm bench` writes. */

import { toCsv } from "../bench/report/csv.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import type { Report } from "../bench/report/report.ts";
import type { OutputFile } from "./output_file.ts";

/** Keeps files up to date with what was measured so far. */
export class ReportFiles {
  readonly #bySuite = new Map<string, Report>();

  constructor(
    readonly files: Readonly<Partial<Record<"json" | "csv" | "output", OutputFile | undefined>>>,
    readonly several: boolean,
  ) {}

  get reports(): Report[] {
    return [...this.#bySuite.values()];
  }

  /** What is known of a suite by now. */
  report(suite: string): Report | undefined {
    return this.#bySuite.get(suite);
  }

  save(report: Report): void {
    this.#bySuite.set(report.suite, report);
    this.files.json?.write(this.json());
    this.files.csv?.write(toCsv(this.reports));
    this.files.output?.write(this.reports.map(toMarkdown).join("\n"));
  }

  /** One suite's results as an object; of several an array, however many are done. */
  json(): string {
    const { reports } = this;
    return `${JSON.stringify(this.several ? reports : reports[0], null, 2)}\n`;
  }
}
