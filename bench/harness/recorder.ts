/** Fills a report with results, and with the tables that show them. */

import { plural } from "../../engine/plural.ts";
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
import {
  LEAST_INTERVAL_SAMPLES,
  medianInterval,
  medianOf,
  medianRatio,
  ratioInterval,
} from "../report/stats.ts";
import { probeSpreads } from "./limits.ts";
import { doubts, noise, unsteadyProbe } from "./noise.ts";

/** Records results that have the same settings. */
export interface Recording {
  /** Records a repeated measurement: one sample per repetition. */
  measure(metric: Metric, samples: readonly number[], limit?: number): Result;
  /**
   * Records a ratio of interleaved measurements: one per repetition, as `pairedRatios` returns
   * them.
   */
  ratio(metric: Metric, ratios: readonly number[]): Result;
  /** Records a single number. */
  value(metric: Metric, value: number, limit?: number): Result;
  /** Records a percentile of `of` values. */
  percentile(metric: Metric, value: number, of: number): Result;
}

/** Content of a cell: a result, a number that is not a result (such as a setting), or text. */
export type Content = Result | number | string;

/** A table to which rows are added as they are measured. */
export interface TableWriter {
  row(...cells: Content[]): void;
  /** Adds sentences below the table. */
  note(...sentences: string[]): void;
}

type Numbers = Omit<Result, "metric" | "settings" | "unit">;

export class Recorder {
  readonly report: Report;
  readonly #keys = new Set<string>();
  /** The results that the noise of the machine is judged by. */
  readonly #headlines: Result[] = [];

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
      warmUps: [],
      runs: [],
      tables: [],
      charts: suite.charts,
      checks: [],
      warnings: [],
      outputHash: "",
    };
  }

  /** Returns a recorder for results with these settings; without settings, for the whole run. */
  at(settings: Settings = {}): Recording {
    return {
      measure: (metric, samples, limit) => {
        const interval = medianInterval(samples);
        const result = this.#record(metric, settings, {
          value: medianOf(samples),
          samples: [...samples],
          ...(interval && { interval }),
          ...(limit !== undefined && { limit }),
        });
        if (metric.headline) {
          this.#headlines.push(result);
          this.report.warnings.push(...doubts(keyOf(result), samples));
        }
        return result;
      },
      ratio: (metric, ratios) => {
        const interval = ratioInterval(ratios);
        return this.#record(metric, settings, {
          value: medianRatio(ratios),
          samples: [...ratios],
          ...(interval && { interval }),
          paired: true,
        });
      },
      value: (metric, value, limit) =>
        this.#record(metric, settings, { value, ...(limit !== undefined && { limit }) }),
      percentile: (metric, value, of) => this.#record(metric, settings, { value, of }),
    };
  }

  /**
   * Adds a table with these columns, such as `Requests | Time (s)`. A unit in a title is left out
   * of the cells.
   */
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

  /**
   * Records a check. Only an error in the program can fail it; a failed check ends the command with
   * exit code 7.
   */
  check(name: string, ok: boolean, detail: string): void {
    this.report.checks.push({ name, ok, detail });
  }

  /** Records why a case could not be measured. The command then ends with exit code 1. */
  fail(name: string, reason: string): void {
    (this.report.failures ??= []).push({ case: name, reason });
  }

  save(): void {
    this.onSave?.(this.report);
  }

  /** Adds the warnings about all results together, and saves the report. */
  finish(): void {
    const { run, limits, warnings } = this.report;
    if (limits !== null) warnings.push(...this.#limitWarnings(limits));
    if (run.warmup === 0) {
      warnings.push("no warm-up: the times of the first run may include compiling");
    }
    if (run.repetitions < LEAST_INTERVAL_SAMPLES) {
      warnings.push(
        run.repetitions === 1
          ? "one repetition: the spread of the results is not known"
          : `${run.repetitions} repetitions are too few for 95 % intervals: at least ${LEAST_INTERVAL_SAMPLES} are needed`,
      );
    }
    warnings.push(
      ...noise(this.#headlines.map((result) => [keyOf(result), result.samples!] as const)),
    );
    this.save();
  }

  #limitWarnings(limits: Limits): string[] {
    const above = this.report.results.filter(isAboveLimit);
    return [
      ...unsteadyProbe(probeSpreads(limits)),
      ...(above.length === 0 ? [] : [
        `${above.length} ${plural(above.length, "result")} above the limits (first: ${
          keyOf(above[0]!)
        }), so the limits are too low: the probe was disturbed, a cache helped, or --bandwidth is wrong`,
      ]),
    ];
  }

  #record({ id, unit }: Metric, settings: Settings, numbers: Numbers): Result {
    const result: Result = { metric: id, settings: { ...settings }, unit, ...numbers };
    const key = keyOf(result);
    if (this.#keys.has(key)) throw new TypeError(`Cannot record ${key}: it was recorded before`);
    this.#keys.add(key);
    this.report.results.push(result);
    return result;
  }
}
