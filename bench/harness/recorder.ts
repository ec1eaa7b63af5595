/** Fills a report: results, and the tables that show them. */

import { count } from "../report/format.ts";
import type { Metric } from "../report/metrics.ts";
import {
  type Environment,
  FORMAT,
  isAboveLimit,
  keyOf,
  type Limits,
  type Report,
  type Result,
  type RunOptions,
  type Settings,
  type Table,
} from "../report/report.ts";
import { summarize } from "../report/stats.ts";
import { doubts, noise } from "./noise.ts";

/** Records results that belong to the same settings. */
export interface Recording {
  /** A repeated measure; says so in the report where it is not to be trusted. */
  measure(metric: Metric, samples: readonly number[], limit?: number): Result;
  /** A single number. */
  value(metric: Metric, value: number, limit?: number): Result;
}

/** What a cell shows: a result, a number that is none, as of its settings, or words. */
type Content = Result | number | string;

/** A table that rows are added to as they are measured. */
export interface TableWriter {
  row(...cells: Content[]): void;
  /** Adds sentences below the table. */
  note(...sentences: string[]): void;
}

export class Recorder {
  readonly report: Report;
  readonly #keys = new Set<string>();

  constructor(
    start: {
      readonly suite: Pick<Report, "charts"> & { readonly name: string };
      readonly environment: Environment;
      readonly run: RunOptions;
      readonly limits: Limits | null;
    },
    readonly onSave: ((report: Report) => void) | undefined,
  ) {
    const { suite, environment, run, limits } = start;
    this.report = {
      format: FORMAT,
      suite: suite.name,
      complete: false,
      environment,
      run,
      limits,
      results: [],
      tables: [],
      charts: suite.charts,
      checks: [],
      warnings: [],
      outputHash: "",
    };
  }

  /** For results of these settings; none: of the whole run. */
  at(settings: Settings = {}): Recording {
    return {
      measure: (metric, samples, limit) => {
        const { median, stddev } = summarize(samples);
        const result = this.#record(metric, settings, {
          value: median,
          samples: [...samples],
          ...(samples.length > 1 && { stddev }),
          ...(limit !== undefined && { limit }),
        });
        if (!metric.detail) this.report.warnings.push(...doubts(keyOf(result), samples));
        return result;
      },
      value: (metric, value, limit) =>
        this.#record(metric, settings, { value, ...(limit !== undefined && { limit }) }),
    };
  }

  /** A table of these columns, as in `Requests | Time (s)`; a unit there is left out of the cells. */
  table(title: string, columns: string): TableWriter {
    const table: Table = { title, columns: columns.split(" | "), rows: [], notes: [] };
    this.report.tables.push(table);
    return {
      row: (...cells) => {
        table.rows.push(cells.map((cell) => {
          if (typeof cell === "number") return count(cell);
          return typeof cell === "string" ? cell : this.report.results.indexOf(cell);
        }));
        this.save();
      },
      note: (...sentences) => {
        table.notes.push(...sentences);
        this.save();
      },
    };
  }

  /** Records a check; one that fails ends the command with exit code 7. */
  check(name: string, ok: boolean, detail: string): void {
    this.report.checks.push({ name, ok, detail });
  }

  save(): void {
    this.onSave?.(this.report);
  }

  /** Adds what is to be said of all results together. */
  finish(): void {
    const { results, run, limits } = this.report;
    if (limits !== null) {
      const above = results.filter(isAboveLimit).length;
      this.check(
        "within the limits",
        above === 0,
        above === 0 ? "no result is above what the device can do" : `${above} results are above it`,
      );
    }
    if (run.warmup === 0) {
      this.report.warnings.push(
        "no run warmed up: the first one's times may have compiling in them",
      );
    }
    if (run.repetitions === 1) {
      this.report.warnings.push("one repetition: how far its results spread is not known");
    }
    this.report.warnings.push(
      ...noise(results.flatMap((r) => r.samples ? [[keyOf(r), r.samples] as const] : [])),
    );
    this.save();
  }

  #record(
    { id, unit }: Metric,
    settings: Settings,
    numbers: Pick<Result, "value" | "samples" | "stddev" | "limit">,
  ): Result {
    const result: Result = { metric: id, settings: { ...settings }, unit, ...numbers };
    const key = keyOf(result);
    if (this.#keys.has(key)) throw new TypeError(`Cannot record ${key}: it was recorded before`);
    this.#keys.add(key);
    this.report.results.push(result);
    return result;
  }
}
