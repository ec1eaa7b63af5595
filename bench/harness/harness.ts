/** Runs a suite: warm-ups, repetitions, saving after each case, and the checks of them all. */

import { EventLoop } from "../../engine/run/event_loop.ts";
import type { ChartSpec, Check, Limits, Report, RunOptions } from "../report/report.ts";
import type {
  BenchRequest,
  ServeOptions,
  Serving,
  Session,
  SessionOptions,
  Target,
} from "../targets/target.ts";
import { decodeBounds, limitsOf, prefillBound } from "./limits.ts";
import { OutputCheck } from "./output_check.ts";
import { makePrompts } from "./prompts.ts";
import { Recorder } from "./recorder.ts";

/** A benchmark; docs/bench/README.md says how one is added. */
export interface Suite {
  readonly name: string;
  /** What it answers, in a line. */
  readonly summary: string;
  /** Options whose default is another than that of most suites. */
  readonly defaults?: Partial<Pick<RunOptions, "warmup" | "repetitions">>;
  /** Options of its own by name; their values are in `run.suiteOptions`. */
  readonly options?: Readonly<Record<string, SuiteOption>>;
  needs(run: RunOptions): Needs;
  /** Measures; what it records is saved as it comes. */
  run(harness: Harness): Promise<void>;
  readonly charts: ChartSpec[];
}

export interface SuiteOption {
  /** What follows its name, as in `<RxC>`. */
  readonly value: string;
  readonly summary: string;
  /** @throws {RangeError} with a sentence on what was expected. */
  readonly parse: (text: string) => string;
}

/** What a suite needs of the model. */
export interface Needs {
  /** Sequences at once, and tokens of each in the KV cache. */
  readonly sequences: number;
  readonly tokens: number;
  /** The device that the model is measured on besides. */
  readonly baseline?: "cpu";
}

/** How a suite is run, and what is done besides measuring. */
export interface HarnessOptions {
  readonly run: RunOptions;
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
  /** Opens the baseline that the suite needs. */
  readonly baseline?: () => Promise<Target>;
  /** GB/s to reckon with instead of the measured bandwidth. */
  readonly bandwidth?: number;
}

/** Prompt lengths of tables by context. */
export const CONTEXTS: readonly number[] = [32, 128, 256, 512];

/** One run of one suite. */
export class Harness extends Recorder {
  readonly #outputs = new OutputCheck();
  readonly #eventLoop = new EventLoop();
  /** The case whose repetitions run; undefined while warming up and between cases. */
  #measuring: string | undefined;

  private constructor(
    suite: Suite,
    readonly target: Target,
    readonly options: HarnessOptions & { readonly limits: Limits | null },
  ) {
    const { run, limits, save } = options;
    super({ suite, environment: target.environment, run, limits }, save);
  }

  /**
   * Probes the device and runs the suite. If it is cut off, what was done stays in the report; if it
   * fails, that report is saved before the error is passed on.
   */
  static async run(suite: Suite, target: Target, options: HarnessOptions): Promise<Report> {
    options.progress?.("device probe");
    const probe = await target.probe();
    const limits = probe && limitsOf(probe, target, options);
    const harness = new Harness(suite, target, { ...options, limits });
    try {
      await suite.run(harness);
      await harness.#generateIfNothingWas();
      if (options.verify) {
        harness.step("comparing with the CPU backend");
        harness.report.checks.push(await options.verify());
      }
      harness.report.complete = true;
    } catch (error) {
      if (!options.signal?.aborted) {
        harness.finish();
        throw error;
      }
    }
    harness.finish();
    return harness.report;
  }

  get runOptions(): RunOptions {
    return this.options.run;
  }

  /** Prompts of `tokens` tokens each, no two alike from their first block on. */
  prompts(count: number, tokens = this.runOptions.promptTokens): number[][] {
    return makePrompts(this.target.text, { count, tokens, seed: this.runOptions.seed });
  }

  /** Requests for these prompts. */
  requests(
    prompts: readonly (readonly number[])[],
    maxTokens = this.runOptions.maxTokens,
  ): BenchRequest[] {
    return prompts.map((promptIds) => ({ promptIds, maxTokens }));
  }

  /** Serves the requests in a session of their own, warm-up and repetition times. */
  async repeat(
    label: string,
    requests: readonly BenchRequest[],
    options: ServeOptions = {},
  ): Promise<Serving[]> {
    const [servings] = await this.interleave(
      [options],
      () => label,
      (options) => this.serve(requests, options),
    );
    return servings!;
  }

  /**
   * Does `work` for each of these in every repetition, so that what changes on the machine changes
   * for all, and returns what the repetitions gave for each. Warm-ups, which come first, do not
   * count. Between two of them signals are heard.
   */
  async interleave<Way, Outcome>(
    ways: readonly Way[],
    label: (way: Way) => string,
    work: (way: Way, counts: boolean) => Outcome | Promise<Outcome>,
  ): Promise<Outcome[][]> {
    const { warmup, repetitions } = this.runOptions;
    const outcomes: Outcome[][] = ways.map(() => []);
    for (let i = -warmup; i < repetitions; i++) {
      for (const [index, way] of ways.entries()) {
        await this.#eventLoop.yield();
        const name = label(way);
        this.step(`${name}, ${i < 0 ? "warm-up" : `${i + 1} of ${repetitions}`}`);
        this.#measuring = i < 0 ? undefined : name;
        const outcome = await work(way, i >= 0);
        this.#measuring = undefined;
        if (i >= 0) outcomes[index]!.push(outcome);
      }
    }
    return outcomes;
  }

  /** Serves requests in a session of their own. */
  serve(requests: readonly BenchRequest[], options: ServeOptions = {}): Promise<Serving> {
    return this.withSession({}, (session) => session.serve(requests, options));
  }

  /** A session of the target; where a repetition counts, the trace and the output check hear of it. */
  withSession<T>(options: SessionOptions, use: (session: Session) => Promise<T>): Promise<T> {
    return this.target.withSession(options, (session) =>
      use({
        get cacheUse() {
          return session.cacheUse;
        },
        serve: async (requests, options) => {
          const serving = await session.serve(requests, options);
          if (this.#measuring !== undefined) this.#remember(this.#measuring, requests, serving);
          return serving;
        },
        holdSequences: (prompts) => session.holdSequences(prompts),
      }));
  }

  /** Says what happens now, and stops here if it was interrupted. */
  step(label: string): void {
    this.options.signal?.throwIfAborted();
    this.options.progress?.(label);
  }

  /**
   * Most tokens a second that `requests` at once can decode after prompts of this length: each step
   * reads the weights once, and the keys and values of each.
   */
  limit(
    requests: number,
    promptTokens = this.runOptions.promptTokens,
    maxTokens = this.runOptions.maxTokens,
  ): number | undefined {
    const { limits } = this.report;
    if (limits === null) return undefined;
    const position = promptTokens + maxTokens / 2;
    const { memoryBound, arithmeticBound } = decodeBounds(this.target, limits, {
      position,
      requests,
    });
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
    return CONTEXTS.filter((context) => this.fits(context, this.runOptions.maxTokens));
  }

  override finish(): void {
    const { prompts, changed } = this.#outputs;
    if (prompts > 0) {
      this.check(
        "same tokens each time",
        changed.length === 0,
        changed.length === 0
          ? `${prompts} prompts gave the same tokens in every run`
          : `a prompt gave other tokens than before in ${changed.join(", ")}`,
      );
    }
    super.finish();
  }

  #remember(label: string, requests: readonly BenchRequest[], serving: Serving): void {
    this.options.served?.(label, serving);
    this.#outputs.add(label, requests, serving.requests);
    this.report.outputHash = this.#outputs.hash;
  }

  // Every report has an output check, those of suites that generate nothing too.
  async #generateIfNothingWas(): Promise<void> {
    if (this.#outputs.prompts > 0) return;
    const requests = this.requests(this.prompts(1));
    this.#remember("output check", requests, await this.serve(requests));
  }
}
