/** The files that `tvllm bench` writes. */

import { toCsv } from "../bench/report/csv.ts";
import { type MarkdownOptions, toMarkdown } from "../bench/report/markdown.ts";
import type { Report } from "../bench/report/report.ts";
import type { OutputFile } from "./output_file.ts";
import { summaries } from "../bench/report/summary.ts";
import { SUITES } from "../bench/suites/mod.ts";

/** Collects reports, and rewrites the files after each change. */
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

  /** Saves the current report under `key`, which identifies the suite and the target. */
  save(key: string, report: Report): void {
    this.#reports.set(key, report);
    this.files.json?.write(this.json());
    this.files.csv?.write(this.csv());
    this.files.output?.write(this.markdown());
  }

  /** Returns all reports as Markdown, and the tables that compare several models. */
  markdown(): string {
    const { reports, options: { markdown } } = this;
    return [...reports.map((report) => toMarkdown(report, markdown)), ...this.summary()].join("\n");
  }

  /** Returns tables with one row per model, if there are several models. */
  summary(): string[] {
    return summaries(this.reports, SUITES);
  }

  /** Returns a line of JSON for each result, with the model and device on which it was measured. */
  jsonl(): string {
    return this.reports.flatMap(({ suite, environment, run, results }) => {
      const { model: { name, sha256, formats }, device, host, engine } = environment;
      const common = {
        suite,
        model: name,
        sha256,
        format: formats[0],
        device: device.description,
        kind: device.kind,
        threads: host.threads,
        kvType: engine.kvType,
        commit: engine.commit,
        date: run.date,
      };
      return results.map((result) => `${JSON.stringify({ ...common, ...result })}\n`);
    }).join("");
  }

  csv(): string {
    return toCsv(this.reports);
  }

  /** Returns the report as a JSON object; if there may be several, an array even of only one. */
  json(): string {
    const { reports } = this;
    return `${JSON.stringify(this.options.several ? reports : reports[0], null, 2)}\n`;
  }
}
