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
    this.files.csv?.write(this.csv());
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

  /** A line of JSON for each result, with what it was measured on. */
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

  /** One report as an object; of several an array, however many are done. */
  json(): string {
    const { reports } = this;
    return `${JSON.stringify(this.options.several ? reports : reports[0], null, 2)}\n`;
  }
}
