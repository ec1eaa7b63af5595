/** Runs a suite: warm-ups, repetitions, saving after each case, and the common checks. */

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

/** A benchmark. docs/bench/README.md describes how to add one. */
export interface Suite {
  readonly name: string;
  /** What it measures, in one line. */
  readonly summary: string;
  /** It can measure a server over HTTP. */
  readonly endpoint?: true;
  /** Columns of the table that has a row per model, if several models are measured. */
  readonly summaryColumns?: readonly SummaryColumn[];
  /** Title of the table whose rows from all reports of a run are shown together at its end. */
  readonly stackedTable?: string;
  /**
   * Set if the suite accepts lists of lengths. `run.suiteOptions` contains the lists that were
   * given, by the same names; these are the defaults.
   */
  readonly sweeps?: { readonly promptTokens: string; readonly maxTokens: string };
  /** The suite's own options by name; their values are in `run.suiteOptions`. */
  readonly options?: Readonly<Record<string, SuiteOption>>;
  needs(run: RunOptions): Needs;
  /** Measures. Results are saved as soon as they are recorded. */
  run(harness: Harness): Promise<void>;
  readonly charts: ChartSpec[];
}

export interface SuiteOption {
  /** Placeholder of its value, such as `<RxC>`. */
  readonly value: string;
  readonly summary: string;
  readonly accepts: (text: string) => boolean;
  /** What it accepts, as text after "Expected". */
  readonly expected: string;
}

/** What the model must provide for a suite. */
export interface Needs {
  /** Number of simultaneous sequences, and tokens of each in the KV cache. */
  readonly sequences: number;
  readonly tokens: number;
  /** Device on which the model is measured too, for comparison. */
  readonly baseline?: "cpu";
}

/** How a suite is run, and what is done besides measuring. */
export interface HarnessOptions {
  readonly run: RunOptions;
  /** Called when a step begins, with its label and the progress of the suite. */
  readonly progress?: (progress: SuiteProgress) => void;
  /** Called after every case with the report so far. */
  readonly save?: (report: Report) => void;
  /** Aborts between two runs. The report keeps the cases that are done. */
  readonly signal?: AbortSignal;
  /** Called with every measured serving, to write a trace. */
  readonly served?: (label: string, serving: Serving) => void;
  /** Compares with another backend. The result is added to the checks. */
  readonly verify?: () => Promise<Check>;
  /** Opens the baseline that the suite needs. */
  readonly baseline?: () => Promise<Target>;
  /** Bandwidth in GB/s to use instead of the measured one. */
  readonly bandwidth?: number;
}

/** One run of one suite. */
export class Harness extends Recorder {
  readonly #outputs = new OutputCheck();
  /** Cases in which kernels were compiled during a repetition. */
  readonly #compiledIn = new Set<string>();
  readonly #eventLoop = new EventLoop();
  readonly #cases = new CaseCounter();
  readonly #failed = new FailedRequests();
  /** The repetition that is running; undefined during warm-ups and between cases. */
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
   * Probes the device and runs the suite. If the run is aborted, it returns the report so far; if
   * it fails, it saves the report before it rethrows the error.
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

  /** Prompts of `tokens` tokens each. No two have the same first block. */
  prompts(count: number, tokens = this.runOptions.promptTokens): number[][] {
    return makePrompts(this.target.text, { count, tokens, seed: this.runOptions.seed });
  }

  /** Prompts to append to others: without a BOS token. */
  continuations(count: number, tokens: number): number[][] {
    return makePrompts(this.target.text, { count, tokens, seed: this.runOptions.seed, bos: false });
  }

  /** The sampling that the run's options ask for. */
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

  /** Serves the requests in a new session for each warm-up and repetition. */
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
   * Calls `work` for all `ways` in every repetition, so that changes on the machine affect all of
   * them, and returns the outcomes of each way by repetition. Warm-ups come first; they are not
   * counted, and `work` may do less in them. Signals are handled between two calls. A repetition in
   * which a server fails a request is left out; if all are, the last failure's cause is thrown.
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

  /** Counts the requests that failed. Other errors are rethrown. */
  #noteFailure(error: unknown, name: string, counts: boolean): FailedServing {
    if (!(error instanceof FailedServing)) throw error;
    this.#failed.add(name, error.failures, counts);
    return error;
  }

  /** Warms up all ways, interleaved, each until its warm-up is done. */
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

  /** Serves requests in a new session. */
  serve(requests: readonly BenchRequest[], options: ServeOptions = {}): Promise<Serving> {
    return this.withSession({}, (session) => session.serve(requests, options));
  }

  /** Opens a session. Servings in repetitions go to the report, the trace and the output check. */
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

  /** Sets the number of cases: each way of `interleave`, and each call of `repeat` and `begin`. */
  plan(cases: number): void {
    this.#cases.plan(cases);
  }

  /** Begins a case that is not repeated by the harness. */
  begin(label: string): void {
    this.#cases.begin(1, { warmup: 0, repetitions: 1 });
    this.#cases.run(0, false);
    this.step(label);
  }

  /** Reports the current step; throws if the run was aborted. */
  step(label: string): void {
    this.options.signal?.throwIfAborted();
    this.options.progress?.(this.#cases.at(label));
  }

  /**
   * Upper limit of tokens per second if `requests` requests decode at once after prompts of this
   * length. Each step reads the weights once, and the keys and values of every request.
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

  /** Upper limit of tokens per second for a prompt of this length after `depth` cached tokens. */
  prefillLimit(promptTokens: number, depth = 0): number | undefined {
    const { limits } = this.report;
    return limits === null ? undefined : prefillBound(this.target, limits, { promptTokens, depth });
  }

  /** Upper limit of output tokens per second for this work, including its prompts. */
  workLimit(work: Work): number | undefined {
    const { limits } = this.report;
    if (limits === null) return undefined;
    return 1000 * work.requests * work.maxTokens / leastTime(this.target, limits, work);
  }

  /** Whether a request of this length fits into the context. */
  fits(promptTokens: number, maxTokens: number): boolean {
    return promptTokens + maxTokens <= this.report.environment.model.contextLength;
  }

  /** Prompt lengths for tables by context, without those that do not fit into the context. */
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
    // An endpoint gets a different prompt each time, and reports no token ids.
    if (this.target.environment.endpoint) return;
    this.#outputs.add(label, requests, serving.requests);
    this.report.outputHash = this.#outputs.hash;
  }

  // Every report has an output check, unless the run's lengths cannot be generated.
  async #generateIfNothingWas(): Promise<void> {
    if (this.#outputs.prompts > 0 || this.target.environment.endpoint) return;
    const { promptTokens, maxTokens } = this.runOptions;
    if (promptTokens < 1 || maxTokens < 1 || !this.fits(promptTokens, maxTokens)) return;
    const requests = this.requests(this.prompts(1));
    this.#remember("output check", requests, await this.serve(requests));
  }
}
