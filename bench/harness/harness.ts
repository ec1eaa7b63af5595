/** Runs a suite's cases: warm-ups, repetitions, saving after each case, and the checks of them all. */

import { createHash } from "node:crypto";
import { EventTurns } from "../../engine/run/event_turns.ts";
import { decodeBounds, limitsOf, prefillBound } from "./limits.ts";
import {
  type Cell,
  type Check,
  isAboveLimit,
  type Limits,
  measured,
  type Quantity,
  type Report,
  type RunOptions,
  type Table,
  type Unit,
} from "../report/report.ts";
import { doubts, noise } from "./stats.ts";
import { makePrompts } from "./prompts.ts";
import type {
  BenchRequest,
  HostStep,
  Served,
  ServeOptions,
  Serving,
  Target,
} from "../targets/target.ts";

/** What the harness does besides measuring. */
export interface HarnessHooks {
  /** Called when a case begins, with what it is. */
  readonly progress?: (label: string) => void;
  /** Called after every case with all that is known by then. */
  readonly save?: (report: Report) => void;
  /** Aborts between two runs: the cases done so far stay. */
  readonly signal?: AbortSignal;
  /** Called with every measured serving, for a trace. */
  readonly served?: (label: string, serving: Serving) => void;
  /** Compares with another backend; its result joins the checks. */
  readonly verify?: () => Promise<Check>;
  /** Another backend to measure beside this one, in suites that do. */
  readonly baseline?: () => Promise<Target>;
  /** GB/s to reckon with instead of the measured bandwidth. */
  readonly bandwidth?: number;
}

const CONTEXTS = [32, 128, 256, 512];

/** A suite: measures, and adds its tables. */
export type Suite = (bench: Bench) => Promise<void>;

/** One run of one suite. */
export class Bench {
  readonly report: Report;
  readonly #hashes = new Map<string, string>();
  readonly #changed = new Set<string>();
  readonly #measures = new Map<string, readonly number[]>();
  readonly #turns = new EventTurns();

  private constructor(
    readonly target: Target,
    readonly hooks: HarnessHooks,
    suite: string,
    run: RunOptions,
    limits: Limits | null,
  ) {
    this.report = {
      format: "tvllm-bench-1",
      suite,
      complete: false,
      environment: target.environment,
      run,
      limits,
      tables: [],
      checks: [],
      warnings: [],
      outputHash: "",
    };
  }

  /**
   * Probes the device and runs the suite. If it is cut off, what was done stays in the report; if it
   * fails, that report is saved before the error is passed on.
   */
  static async run(
    name: string,
    suite: Suite,
    target: Target,
    run: RunOptions,
    hooks: HarnessHooks = {},
  ): Promise<Report> {
    hooks.progress?.("device probe");
    const probe = await target.probe();
    const limits = probe && limitsOf(probe, target, run, hooks.bandwidth);
    const bench = new Bench(target, hooks, name, run, limits);
    try {
      await suite(bench);
      await bench.#generateIfNothingWas();
      if (hooks.verify) {
        bench.step("comparing with the CPU backend");
        bench.report.checks.push(await hooks.verify());
      }
      bench.report.complete = true;
    } catch (error) {
      if (!hooks.signal?.aborted) {
        bench.#finish();
        throw error;
      }
    }
    bench.#finish();
    return bench.report;
  }

  get run(): RunOptions {
    return this.report.run;
  }

  /** Prompts of `tokens` tokens each, no two alike from their first block on. */
  prompts(count: number, tokens = this.run.promptTokens): number[][] {
    return makePrompts(this.target, count, tokens, this.run.seed);
  }

  /** Requests for these prompts. */
  requests(
    prompts: readonly (readonly number[])[],
    maxTokens = this.run.maxTokens,
  ): BenchRequest[] {
    return prompts.map((promptIds) => ({ promptIds, maxTokens }));
  }

  /** Serves the requests warm-up and repetition times, and returns the repetitions. */
  async repeat(
    label: string,
    requests: readonly BenchRequest[],
    options: ServeOptions = {},
  ): Promise<Serving[]> {
    return (await this.repeatByTurns(label, requests, [options]))[0]!;
  }

  /** The same in several ways by turns, so that what changes on the machine changes for all. */
  async repeatByTurns(
    label: string,
    requests: readonly BenchRequest[],
    ways: readonly ServeOptions[],
  ): Promise<Serving[][]> {
    return await this.byTurns(ways, () => label, async (options, counts) => {
      const serving = await this.target.serve(requests, options);
      if (counts) this.remember(label, requests, serving.requests, serving.steps);
      return serving;
    });
  }

  /**
   * Does `work` in each of these ways by turns, warm-up and repetition times, and returns what the
   * repetitions, which count, gave for each way. Between them signals are heard.
   */
  async byTurns<Way, Result>(
    ways: readonly Way[],
    label: (way: Way) => string,
    work: (way: Way, counts: boolean) => Result | Promise<Result>,
  ): Promise<Result[][]> {
    const { warmup, repetitions } = this.run;
    const results: Result[][] = ways.map(() => []);
    for (let i = -warmup; i < repetitions; i++) {
      for (const [index, way] of ways.entries()) {
        await this.#turns.next();
        this.step(`${label(way)}, ${i < 0 ? "warm-up" : `${i + 1} of ${repetitions}`}`);
        const result = await work(way, i >= 0);
        if (i >= 0) results[index]!.push(result);
      }
    }
    return results;
  }

  /** Says what happens now, and stops here if it was interrupted. */
  step(label: string): void {
    this.hooks.signal?.throwIfAborted();
    this.hooks.progress?.(label);
  }

  /** A measure of all repetitions; says so in the report where they are not to be trusted. */
  measure(name: string, samples: readonly number[], unit: Unit, limit?: number): Quantity {
    this.report.warnings.push(...doubts(name, samples));
    return this.measureOfMany(name, samples, unit, limit);
  }

  /** The same of one measure among dozens: it counts for the noise, and has no warnings of its own. */
  measureOfMany(
    name: string,
    samples: readonly number[],
    unit: Unit,
    limit?: number,
  ): Quantity {
    this.#measures.set(name, samples);
    return measured(samples, unit, limit);
  }

  /**
   * Most tokens a second that `requests` at once can decode after prompts of this length: each step
   * reads the weights once, and the keys and values of each.
   */
  limit(
    requests: number,
    promptTokens = this.run.promptTokens,
    maxTokens = this.run.maxTokens,
  ): number | undefined {
    const { limits } = this.report;
    if (limits === null) return undefined;
    const position = promptTokens + maxTokens / 2;
    const { memoryBound, arithmeticBound } = decodeBounds(this.target, limits, position, requests);
    return Math.min(memoryBound, arithmeticBound);
  }

  /** Most tokens a second of a prompt of this length. */
  prefillLimit(promptTokens: number): number | undefined {
    const { limits } = this.report;
    return limits === null ? undefined : prefillBound(this.target, limits, promptTokens);
  }

  /** Whether a request of this length fits into the context. */
  fits(promptTokens: number, maxTokens: number): boolean {
    return promptTokens + maxTokens <= this.report.environment.model.contextLength;
  }

  /** Lengths of the prompts in tables by context, as far as they fit. */
  get contexts(): number[] {
    return CONTEXTS.filter((context) => this.fits(context, this.run.maxTokens));
  }

  /** Adds a table that rows are added to as they are measured. */
  table(
    title: string,
    columns: readonly (string | readonly [string, Unit])[],
  ): { row(...cells: Cell[]): void; say(...lines: string[]): void } {
    const table: Table = {
      title,
      columns: columns.map((column) =>
        typeof column === "string" ? { title: column } : { title: column[0], unit: column[1] }
      ),
      rows: [],
      summary: [],
    };
    this.report.tables.push(table);
    return {
      row: (...cells) => {
        table.rows.push(cells);
        this.#save();
      },
      say: (...lines) => {
        table.summary.push(...lines);
        this.#save();
      },
    };
  }

  /** Records a check; one that fails ends the command with exit code 7. */
  check(name: string, ok: boolean, detail: string): void {
    this.report.checks.push({ name, ok, detail });
  }

  // Every report has an output check, those of suites that generate nothing too.
  async #generateIfNothingWas(): Promise<void> {
    if (this.#hashes.size > 0) return;
    const requests = this.requests(this.prompts(1));
    const { requests: served, steps } = await this.target.serve(requests);
    this.remember("output check", requests, served, steps);
  }

  #save(): void {
    this.report.outputHash = this.#outputHash();
    this.hooks.save?.(this.report);
  }

  /**
   * Adds what was served to the trace and to the output check: a prompt must give the same tokens
   * each time, in any batch.
   */
  remember(
    label: string,
    requests: readonly BenchRequest[],
    served: readonly Served[],
    steps: readonly HostStep[] = [],
  ): void {
    this.hooks.served?.(label, { requests: served, steps });
    for (const [i, { promptIds, maxTokens }] of requests.entries()) {
      const key = hash([maxTokens, ...promptIds]);
      const output = hash(served[i]!.ids);
      const before = this.#hashes.get(key);
      this.#hashes.set(key, output);
      if (before !== undefined && before !== output) this.#changed.add(label);
    }
  }

  #outputHash(): string {
    if (this.#hashes.size === 0) return "";
    const pairs = [...this.#hashes].map(([key, output]) => `${key}:${output}`).sort();
    return createHash("sha256").update(pairs.join("\n")).digest("hex").slice(0, 16);
  }

  #finish(): void {
    const { report } = this;
    report.outputHash = this.#outputHash();
    if (this.#hashes.size > 0) {
      const same = this.#changed.size === 0;
      const detail = same
        ? `${this.#hashes.size} prompts gave the same tokens in every run`
        : `a prompt gave other tokens than before in ${[...this.#changed].join(", ")}`;
      this.check("same tokens each time", same, detail);
    }
    const above = report.tables.flatMap((t) => t.rows.flat()).filter(isAboveLimit).length;
    if (report.limits !== null) {
      this.check(
        "within the limits",
        above === 0,
        above === 0 ? "no result is above what the device can do" : `${above} results are above it`,
      );
    }
    const { warmup, repetitions } = this.run;
    report.warnings = [
      ...new Set([
        ...report.warnings,
        ...(warmup === 0
          ? ["no run warmed up: the first one's times may have compiling in them"]
          : []),
        ...(repetitions === 1 ? ["one repetition: how far its results spread is not known"] : []),
        ...noise(this.#measures),
      ]),
    ];
    this.hooks.save?.(report);
  }
}

function hash(ids: readonly number[]): string {
  return createHash("sha256").update(ids.join(",")).digest("hex").slice(0, 16);
}
