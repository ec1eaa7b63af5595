/** The files that `tvllm bench` writes. */

import { toCsv } from "../bench/report/csv.ts";
import { type MarkdownOptions, toMarkdown } from "../bench/report/markdown.ts";
import type { Report } from "../bench/report/report.ts";
import type { OutputFile } from "./output_file.ts";
import { summaries } from "../bench/report/summary.ts";
import { SUITES } from "../bench/suites/mod.ts";

/** Keeps files up to date with what was measured so far. */
export class ReportFiles {
  readonly #reports = new Map<string, Report>();

  constructor(
    readonly files: Readonly<Partial<Record<"json" | "csv" | "output", OutputFile | undefined>>>,
    readonly options: {
      /** Whether there may be several reports. */
      readonly several: boolean;
      readonly markdown: MarkdownOptions;
    },
  ) {}

  get reports(): Report[] {
    return [...this.#reports.values()];
  }

  /** Keeps what is known by now of the suite that `key` names, with its model. */
  save(key: string, report: Report): void {
    this.#reports.set(key, report);
    this.files.json?.write(this.json());
    this.files.csv?.write(toCsv(this.reports));
    this.files.output?.write(this.markdown());
  }

  /** All reports, and the table of several models. */
  markdown(): string {
    const { reports, options: { markdown } } = this;
    return [...reports.map((report) => toMarkdown(report, markdown)), ...this.summary()].join("\n");
  }

  /** The tables with a row a model, if there are several models. */
  summary(): string[] {
    return summaries(this.reports, SUITES);
  }

  /** One report as an object; of several an array, however many are done. */
  json(): string {
    const { reports } = this;
    return `${JSON.stringify(this.options.several ? reports : reports[0], null, 2)}\n`;
  }
}
