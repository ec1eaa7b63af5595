/** Runs a suite: warm-ups, repetitions, saving after each case, and the checks of them all. */

import { EventLoop } from "../../engine/run/event_loop.ts";
import { GREEDY, type SamplingOptions } from "../../engine/run/runner.ts";
import type { ChartSpec, Check, Limits, Report, RunOptions } from "../report/report.ts";
import type { SummaryColumn } from "../report/summary.ts";
import {
  type BenchRequest,
  FailedServing,
  type ServeOptions,
  type Serving,
  type Session,
  type SessionOptions,
  type Target,
} from "../targets/target.ts";
import { FailedRequests } from "./failed_requests.ts";
import { decodeBounds, leastTime, limitsOf, prefillBound, type Work } from "./limits.ts";
import { OutputCheck } from "./output_check.ts";
import { CaseCounter, type SuiteProgress } from "./progress.ts";
import { makePrompts } from "./prompts.ts";
import { Recorder } from "./recorder.ts";
import { measuredRequests } from "./timings.ts";
import { WarmUp } from "./warm_up.ts";
import { plural } from "../../engine/plural.ts";

/** A benchmark; docs/bench/README.md says how one is added. */
export interface Suite {
  readonly name: string;
  /** What it answers, in a line. */
  readonly summary: string;
  /** It needs nothing that a server over HTTP does not tell. */
  readonly endpoint?: true;
  /** What stands in the row of a model where several are measured. */
  readonly summaryColumns?: readonly SummaryColumn[];
  /** The table whose rows, of all reports of a run, stand together at its end. */
  readonly stackedTable?: string;
  /**
   * It takes lists of lengths: `run.suiteOptions` has those that were given, by the same names, else
   * these.
   */
  readonly sweeps?: { readonly promptTokens: string; readonly maxTokens: string };
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
  readonly accepts: (text: string) => boolean;
  /** What it accepts, as it is put after "Expected". */
  readonly expected: string;
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
  /** Called when something begins, with what it is and how far the suite is. */
  readonly progress?: (progress: SuiteProgress) => void;
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

/** One run of one suite. */
export class Harness extends Recorder {
  readonly #outputs = new OutputCheck();
  /** Cases in whose repetitions kernels were compiled. */
  readonly #compiledIn = new Set<string>();
  readonly #eventLoop = new EventLoop();
  readonly #cases = new CaseCounter();
  readonly #failed = new FailedRequests();
  /** What is being repeated; undefined while warming up and between cases. */
  #measuring: { readonly name: string; readonly repetition: number } | undefined;

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
    options.progress?.(new CaseCounter().at("device probe"));
    const probe = await target.probe();
    const limits = probe && limitsOf(probe, target, options);
    const harness = new Harness(suite, target, { ...options, limits });
    try {
      await suite.run(harness);
      await harness.#generateIfNothingWas();
      await harness.#checkOutputs();
      if (options.verify) {
        harness.step("comparing with the CPU backend");
        harness.report.checks.push(await options.verify());
      }
      harness.report.complete = true;
    } catch (error) {
      if (!options.signal?.aborted) {
        harness.finish();
        throw error instanceof FailedServing ? error.cause : error;
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

  /** The same to follow others: they do not begin with the token that begins a text. */
  continuations(count: number, tokens: number): number[][] {
    const { seed } = this.runOptions;
    return makePrompts(this.target.text, { count, tokens, seed, bos: false });
  }

  /** How the run's options have tokens chosen. */
  get sampling(): SamplingOptions {
    const { sampling, seed } = this.runOptions;
    return sampling.temperature === 0 && sampling.repeatPenalty === 1
      ? GREEDY
      : { ...sampling, seed };
  }

  /** Requests for these prompts. */
  requests(
    prompts: readonly (readonly number[])[],
    maxTokens = this.runOptions.maxTokens,
    sampling = this.sampling,
  ): BenchRequest[] {
    return prompts.map((promptIds) => ({ promptIds, maxTokens, sampling }));
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
   * count, and may do less. Between two of them signals are heard. A repetition in which a server fails
   * a request is left out; if that is so in all, the reason is thrown.
   */
  async interleave<Way, Outcome>(
    ways: readonly Way[],
    label: (way: Way) => string,
    work: (way: Way, counts: boolean) => Outcome | Promise<Outcome>,
  ): Promise<Outcome[][]> {
    const { repetitions } = this.runOptions;
    const { target } = this;
    this.#cases.begin(ways.length, this.runOptions);
    await this.#warmUp(ways, label, (way) => work(way, false));
    const whole: Outcome[][] = [];
    let failure: FailedServing | undefined;
    for (let i = 0; i < repetitions; i++) {
      const outcomes: Outcome[] = [];
      const { length } = this.report.runs;
      try {
        for (const [index, way] of ways.entries()) {
          await this.#eventLoop.yield();
          const name = label(way);
          this.#cases.run(index, false);
          this.step(`${name}, ${i + 1} of ${repetitions}`);
          const { compiled } = target;
          this.#measuring = { name, repetition: whole.length };
          outcomes.push(await work(way, true));
          if (target.compiled > compiled) this.#compiledIn.add(name);
        }
        whole.push(outcomes);
      } catch (error) {
        failure = this.#noteFailure(error, label(ways[outcomes.length]!), true);
        this.report.runs.length = length;
      } finally {
        this.#measuring = undefined;
      }
    }
    if (failure && whole.length === 0) throw failure.cause;
    return ways.map((_, index) => whole.map((outcomes) => outcomes[index]!));
  }

  /** Counts the requests that failed; what is nothing of the kind is thrown. */
  #noteFailure(error: unknown, name: string, counts: boolean): FailedServing {
    if (!(error instanceof FailedServing)) throw error;
    this.#failed.add(name, error.failures, counts);
    return error;
  }

  /** Interleaved too, each until it has had enough. */
  async #warmUp<Way>(
    ways: readonly Way[],
    label: (way: Way) => string,
    work: (way: Way) => unknown,
  ): Promise<void> {
    const warmUps = ways.map(() => new WarmUp(this.runOptions.warmup));
    while (warmUps.some(({ done }) => !done)) {
      for (const [index, way] of ways.entries()) {
        const own = warmUps[index]!;
        if (own.done) continue;
        await this.#eventLoop.yield();
        this.#cases.run(index, true);
        this.step(`${label(way)}, warm-up`);
        const start = this.target.now();
        try {
          await work(way);
        } catch (error) {
          this.#noteFailure(error, label(way), false);
        }
        own.add(this.target.now() - start);
      }
    }
    for (const [index, way] of ways.entries()) {
      this.report.warmUps.push(warmUps[index]!.summary(label(way)));
    }
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
          if (this.#measuring !== undefined) {
            const { name, repetition } = this.#measuring;
            this.report.runs.push({
              ...{ case: name, repetition },
              ...(options?.profile && { profiled: true as const }),
              ...measuredRequests(requests, serving),
            });
            this.#remember(name, requests, serving);
          }
          return serving;
        },
        holdSequences: (prompts) => session.holdSequences(prompts),
      }));
  }

  /** Says how many cases there will be: what `interleave` and `repeat` repeat, and `begin` begins. */
  plan(cases: number): void {
    this.#cases.plan(cases);
  }

  /** A case begins that is not repeated here. */
  begin(label: string): void {
    this.#cases.begin(1, { warmup: 0, repetitions: 1 });
    this.#cases.run(0, false);
    this.step(label);
  }

  /** Says what happens now, and stops here if it was interrupted. */
  step(label: string): void {
    this.options.signal?.throwIfAborted();
    this.options.progress?.(this.#cases.at(label));
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

  /** Most tokens a second of a prompt of this length, after `depth` tokens that are in the cache. */
  prefillLimit(promptTokens: number, depth = 0): number | undefined {
    const { limits } = this.report;
    return limits === null ? undefined : prefillBound(this.target, limits, { promptTokens, depth });
  }

  /** Most output tokens a second of this work, prompts included. */
  workLimit(work: Work): number | undefined {
    const { limits } = this.report;
    if (limits === null) return undefined;
    return 1000 * work.requests * work.maxTokens / leastTime(this.target, limits, work);
  }

  /** Whether a request of this length fits into the context. */
  fits(promptTokens: number, maxTokens: number): boolean {
    return promptTokens + maxTokens <= this.report.environment.model.contextLength;
  }

  /** Lengths of the prompts in tables by context, as far as they fit. */
  get contexts(): number[] {
    const { contexts, maxTokens } = this.runOptions;
    return contexts.filter((context) => this.fits(context, maxTokens));
  }

  override finish(): void {
    if (!this.#outputs.judged) {
      this.#reportOutputs();
      const { differences } = this.#outputs;
      if (differences.length > 0) {
        this.report.warnings.push(
          `${differences.length} ${
            plural(differences.length, "prompt")
          } gave different tokens in different runs; the run was cut off before they were compared`,
        );
      }
    }
    if (this.#compiledIn.size > 0) {
      this.report.warnings.push(
        `kernels were compiled while ${
          [...this.#compiledIn].join(", ")
        } was measured: raise --warmup`,
      );
    }
    this.#failed.write(this);
    super.finish();
  }

  async #checkOutputs(): Promise<void> {
    await this.#outputs.judge(
      (promptIds, ids) => this.target.margins(promptIds, ids),
      () => this.step("comparing tokens that differ"),
    );
    this.#reportOutputs();
  }

  #reportOutputs(): void {
    const { verdict } = this.#outputs;
    if (verdict) this.check("same tokens each time", verdict.ok, verdict.detail);
  }

  #remember(label: string, requests: readonly BenchRequest[], serving: Serving): void {
    this.options.served?.(label, serving);
    // Its prompts are unlike each other, and it tells no token ids.
    if (this.target.environment.endpoint) return;
    this.#outputs.add(label, requests, serving.requests);
    this.report.outputHash = this.#outputs.hash;
  }

  // Every report has an output check, those of suites that generate nothing too.
  async #generateIfNothingWas(): Promise<void> {
    if (this.#outputs.prompts > 0 || this.target.environment.endpoint) return;
    const requests = this.requests(this.prompts(1));
    this.#remember("output check", requests, await this.serve(requests));
  }
}
