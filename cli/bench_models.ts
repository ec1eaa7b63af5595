/** Runs benchmarks on one model after another, and prints and writes their reports. */

import { Harness, type HarnessOptions, type Needs, type Suite } from "../bench/harness/harness.ts";
import { makePrompts } from "../bench/harness/prompts.ts";
import { Trace } from "../bench/harness/trace.ts";
import { verifyByReference } from "../bench/harness/verify.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import type { Report, RunOptions } from "../bench/report/report.ts";
import { EngineTarget } from "../bench/targets/engine_target.ts";
import type { Program } from "../bench/targets/environment.ts";
import type { Model } from "../engine/mod.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import { answerTooLong } from "../engine/run/sequence.ts";
import { failIfCasesFailed, failIfChecksFailed } from "./bench_failures.ts";
import { describeProgram } from "./bench_program.ts";
import { writeCharts, writePage } from "./chart_file.ts";
import { UsageError } from "./exit_codes.ts";
import type { Launch } from "./host.ts";
import { Interrupts } from "./interrupt.ts";
import { HashCache } from "./model_hash.ts";
import { modelPaths } from "./model_argument.ts";
import { openEngine } from "./open_engine.ts";
import type { DeviceValues } from "./options.ts";
import type { OutputFile } from "./output_file.ts";
import { ReportFiles } from "./report_files.ts";
import { SuiteLine } from "./suite_progress.ts";
import type { Terminal } from "./terminal.ts";

/** Smallest capacity of the KV cache in tokens. It is more than `--verify` needs. */
const LEAST_KV_TOKENS = 512;

/** A suite to run. */
export interface Plan {
  readonly suite: Suite;
  readonly run: RunOptions;
  readonly needs: Needs;
}

/** The options that are not part of `RunOptions`. */
export interface BenchValues {
  /** The device options to measure each model with, one after another. */
  readonly devices: readonly DeviceValues[];
  /** The models to measure; if empty, the built-in one. */
  readonly models: readonly string[];
  /** Whether several suites run. */
  readonly several: boolean;
  readonly bandwidth?: number | undefined;
  /** Format of the printed results. */
  readonly format: "md" | "json" | "jsonl" | "csv";
  readonly files: Readonly<
    Partial<
      Record<
        "json" | "csv" | "output" | "chart" | "html" | "trace" | "dump-kernels",
        OutputFile | undefined
      >
    >
  >;
  readonly explain?: true | undefined;
  readonly verify?: true | undefined;
  /** With --endpoint: path of the model whose tokenizer counts the tokens. */
  readonly tokenizer?: string | undefined;
}

/** The environment of the run: the terminal, and what is known about the start of the program. */
export interface Place {
  readonly terminal: Terminal;
  readonly launch: Launch;
  readonly startup: Program["startup"];
}

/**
 * Runs the plans on each model.
 *
 * @throws {CheckFailedError} at the end, if a check failed.
 */
export async function benchModels(
  plans: readonly Plan[],
  values: BenchValues,
  place: Place,
): Promise<void> {
  const { terminal } = place;
  const { devices, files, format, explain } = values;
  using interrupts = new Interrupts();
  const { signal } = interrupts;
  const models = await modelPaths(values.models, terminal);
  signal.throwIfAborted();
  const targets = (models.length === 0 ? [undefined] : models)
    .flatMap((model) => devices.map((device) => ({ ...device, model })));
  const writer = new ReportFiles(files, {
    several: values.several || targets.length > 1,
    markdown: { explain: explain === true },
  });
  const trace = files.trace && new Trace();
  using hashes = HashCache.open({ terminal, signal });
  let failure: { readonly error: unknown } | undefined;
  for (const [index, target] of targets.entries()) {
    const bench = new ModelBench(plans, { ...values, ...target, hashes }, place);
    try {
      failure = await bench.run({
        place: { done: index * plans.length, suites: targets.length * plans.length },
        signal,
        trace,
        save: (report) => writer.save(`${index} ${report.suite}`, report),
        print: (report) => {
          for (const warning of report.warnings) terminal.detail(warning);
          if (format === "md") {
            terminal.write(toMarkdown(report, { explain: explain === true }));
          }
          if (trace) files.trace!.write(trace.toJson());
        },
      });
    } catch (error) {
      // Results of earlier models are still printed.
      if (writer.reports.length === 0) throw error;
      failure = { error };
    }
    if (failure || signal.aborted) break;
  }
  if (format === "md") { for (const table of writer.summary()) terminal.write(table); }
  else if (writer.reports.length > 0) terminal.write(writer[format]());
  if (files.chart) await writeCharts(files.chart, writer.reports, terminal);
  if (files.html) await writePage(files.html, writer.reports);
  if (failure) throw failure.error;
  signal.throwIfAborted();
  failIfChecksFailed(writer.reports);
  failIfCasesFailed(writer.reports);
}

interface Hooks {
  /** The number of suites already done on other targets, and the total over all targets. */
  readonly place: { readonly done: number; readonly suites: number };
  readonly signal: AbortSignal;
  readonly trace: Trace | undefined;
  save(report: Report): void;
  print(report: Report): void;
}

/** Runs all plans on one model with one set of device options. */
class ModelBench {
  constructor(
    readonly plans: readonly Plan[],
    readonly values: BenchValues & DeviceValues & {
      readonly model: string | undefined;
      readonly hashes: HashCache;
    },
    readonly place: Place,
  ) {}

  /**
   * Runs the plans. An error during a measurement is returned, not thrown; the reports so far have
   * been saved and printed.
   */
  async run(hooks: Hooks): Promise<{ readonly error: unknown } | undefined> {
    const { plans, values, place: { terminal } } = this;
    const model = await openEngine(values, terminal, {
      maxSequences: Math.max(...plans.map(({ needs }) => needs.sequences)),
      kvTokens: Math.max(
        LEAST_KV_TOKENS,
        // One block more, as the last block of a sequence may contain only one token.
        ...plans.map(({ needs }) => needs.sequences * (needs.tokens + BLOCK_TOKENS)),
      ),
      // Without -c, the context is as long as the prompts need, up to the model's limit.
      expectedLength: Math.max(1, ...plans.map(({ needs }) => needs.tokens)),
      signal: hooks.signal,
    });
    let other: Model | undefined;
    try {
      for (const { suite, run } of plans) {
        if (suite.sweeps !== undefined) continue;
        if (run.promptTokens + run.maxTokens > model.contextLength) {
          throw answerTooLong(run, model.contextLength);
        }
      }
      const baseline = plans.find(({ needs }) => needs.baseline !== undefined)?.needs.baseline;
      this.#refuseComparing(model, baseline);
      const { launch, startup } = this.place;
      const program = await describeProgram(model, { ...values, launch, startup });
      const target = await EngineTarget.open(model, program, hooks.signal);
      const { backend: _, ...device } = values;
      this.#dumpKernels(target);
      const openBaseline = async () => {
        const options = { maxSequences: 1, signal: hooks.signal };
        other ??= await openEngine({ ...device, device: baseline! }, terminal, options);
        return await EngineTarget.open(other, program, hooks.signal);
      };
      return await this.#measure(target, hooks, {
        ...(values.bandwidth !== undefined && { bandwidth: values.bandwidth }),
        ...(baseline && { baseline: openBaseline }),
        ...(values.verify && {
          verify: () => {
            const prompt = { count: 1, tokens: 16, seed: plans[0]!.run.seed };
            const [first] = makePrompts(target.text, prompt);
            return verifyByReference(model, target, { prompt: first!, signal: hooks.signal });
          },
        }),
      });
    } finally {
      await other?.close();
      await model.close();
    }
  }

  #dumpKernels(target: EngineTarget): void {
    const file = this.values.files["dump-kernels"];
    if (file === undefined) return;
    const text = target.kernelDump();
    if (text === undefined) {
      throw new UsageError(
        "Cannot dump kernels: the model runs on the CPU, whose kernels are not WGSL; add --device gpu",
      );
    }
    file.write(text);
  }

  async #measure(
    target: EngineTarget,
    { place, signal, trace, save, print }: Hooks,
    options: Pick<HarnessOptions, "bandwidth" | "baseline" | "verify">,
  ): Promise<{ readonly error: unknown } | undefined> {
    const { terminal } = this.place;
    let verified: ReturnType<NonNullable<HarnessOptions["verify"]>> | undefined;
    for (const [i, { suite, run }] of this.plans.entries()) {
      using line = new SuiteLine(
        { name: suite.name, number: place.done + i + 1, suites: place.suites },
        terminal,
      );
      let failure: { readonly error: unknown } | undefined;
      let latest: Report | undefined;
      try {
        await Harness.run(suite, target, {
          ...options,
          ...(options.verify && { verify: () => verified ??= options.verify!() }),
          ...{ run, signal },
          save: (report) => save(latest = report),
          progress: (progress) => line.update(progress),
          ...(trace && {
            served: (label, serving) => trace.add(`${suite.name}: ${label}`, serving),
          }),
        });
      } catch (error) {
        failure = { error };
      }
      if (latest) print(latest);
      if (failure || signal.aborted) return failure;
    }
    return undefined;
  }

  #refuseComparing({ device }: Model, baseline: string | undefined): void {
    if (device.kind !== "cpu" || !baseline) return;
    throw new UsageError(
      "Cannot compare with the CPU backend: the model already runs on it; leave out --baseline",
    );
  }
}
