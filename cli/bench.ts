/** `tvllm bench SUITE [MODEL]`: measures, and prints a report. */

import {
  Argument,
  type Command,
  type CommandUnknownOpts,
  InvalidArgumentError,
  Option,
} from "@commander-js/extra-typings";
import { z } from "zod";
import { Harness, type HarnessOptions, type Suite } from "../bench/harness/harness.ts";
import { makePrompts } from "../bench/harness/prompts.ts";
import { Trace } from "../bench/harness/trace.ts";
import { verifyOnCpu } from "../bench/harness/verify.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import { type Report, reportSchema, type RunOptions } from "../bench/report/report.ts";
import { SUITES } from "../bench/suites/mod.ts";
import { EngineTarget } from "../bench/targets/engine_target.ts";
import denoJson from "../deno.json" with { type: "json" };
import type { Model } from "../engine/mod.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import { chartFile, writeCharts } from "./chart_file.ts";
import { CheckFailedError, UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { openEngine } from "./open_engine.ts";
import { addDeviceOptions, addGlobalOptions, decimal, integer, modelOption } from "./options.ts";
import { openOutputFiles } from "./output_file.ts";
import { ReportFiles } from "./report_files.ts";
import { Terminal } from "./terminal.ts";

/** Tokens that the KV cache has room for at least: what `--verify` takes, and some. */
const LEAST_KV_TOKENS = 512;

const MAX_TOKENS = 2 ** 20;

/** Adds the command to `program`. */
export function addBench(program: Command): void {
  const command = program.command("bench")
    .summary("measure speed and memory, and print a report")
    .description("Measures a model on this machine and prints the report as markdown.")
    .addArgument(
      new Argument("<suite>", "what to measure; schema: print the JSON Schema of the results")
        .choices([...SUITES.map(({ name }) => name), "all", "schema"]),
    )
    .argument("[model]", "a .gguf file, instead of -m")
    .addOption(modelOption())
    .option("-p, --prompt-tokens <n>", "length of the prompts", integer(1, MAX_TOKENS), 64)
    .option("-n, --max-tokens <n>", "tokens to generate", integer(2, MAX_TOKENS), 32)
    .option("--prompts <n>", "how many requests", integer(1, 256), 4)
    .option("-r, --repetitions <n>", "runs that count", integer(1, 1000), 3)
    .addOption(
      new Option("--iterations <n>", "the same as --repetitions").argParser(integer(1, 1000))
        .hideHelp(),
    )
    .option("--warmup <n>", "runs before them that do not", integer(0, 1000), 1)
    .option("--concurrency <list>", "requests at once: 1,2,4 or 1-4", counts, [1, 2, 4, 8])
    .option("--seed <n>", "chooses the prompts", integer(0, 2 ** 31 - 1), 0)
    .option("--bandwidth <GB/s>", "memory bandwidth instead of the measured", decimal(0.001, 1e6))
    .option("--json <file>", "the results as JSON; -: on stdout instead of the report")
    .option("--csv <file>", "the results as CSV, a line each")
    .option("--output <file>", "the report")
    .option("--chart <file>", "charts of the results: .svg or .png", chartFile)
    .option("--trace <file>", "the runs as a Chrome or Perfetto trace")
    .option("--verify", "check some tokens on the CPU backend");
  addSuiteOptions(command);
  // deno-lint-ignore tvllm/max-parameters -- commander's callback
  addGlobalOptions(addDeviceOptions(command)).action(async (name, path, options, command) => {
    const startup = performance.now();
    const terminal = new Terminal(command.optsWithGlobals());
    if (name === "schema") {
      const schema = z.union([reportSchema, z.array(reportSchema).describe("Of bench all")]);
      terminal.write(`${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`);
      return;
    }
    const source = (option: string) => command.getOptionValueSource(option);
    if (path !== undefined && source("model") === "cli") {
      throw new UsageError(`Cannot measure both ${path} and -m ${options.model}: give one model`);
    }
    const suites = SUITES.filter((suite) => name === "all" || suite.name === name);
    const values: Values = command.opts();
    refuseUnused(suites, values);
    const { json, csv, output, chart, trace: tracePath } = options;
    using files = openOutputFiles({
      json: json === "-" ? undefined : json,
      csv,
      output,
      chart,
      trace: tracePath,
    });
    const common = {
      promptTokens: options.promptTokens,
      maxTokens: options.maxTokens,
      prompts: options.prompts,
      warmup: options.warmup,
      repetitions: options.iterations ?? options.repetitions,
      concurrency: [...options.concurrency],
      seed: options.seed,
      date: new Date().toISOString(),
    };
    const isGiven = (option: string) =>
      source(option) !== "default" ||
      (option === "repetitions" && options.iterations !== undefined);
    const plans = suites.map((suite) => {
      const run = { ...common, ...defaultsOf(suite, isGiven), suiteOptions: ownOf(suite, values) };
      return { suite, run, needs: suite.needs(run) };
    });
    const model = await openEngine({ ...options, model: path ?? options.model }, terminal, {
      maxSequences: Math.max(...plans.map(({ needs }) => needs.sequences)),
      kvTokens: Math.max(
        LEAST_KV_TOKENS,
        // A sequence's last block may hold one token.
        ...plans.map(({ needs }) => needs.sequences * (needs.tokens + BLOCK_TOKENS)),
      ),
    });
    let other: Model | undefined;
    try {
      checkLengths(common, model.contextLength);
      const baseline = plans.find(({ needs }) => needs.baseline !== undefined)?.needs.baseline;
      if (model.runner.device.kind === "cpu" && (options.verify || baseline)) {
        throw new UsageError(
          `Cannot compare with the CPU backend: the model runs on it; leave out ${
            baseline ? "--baseline" : "--verify"
          }`,
        );
      }
      using interrupts = new Interrupts();
      const { signal } = interrupts;
      const program = { tvllm: denoJson.version, kvType: options.kvType, startup };
      const target = new EngineTarget(model, program, signal);
      const trace = files.trace && new Trace();
      const writer = new ReportFiles(files, name === "all");
      let verified: ReturnType<typeof verifyOnCpu> | undefined;
      const hooks: Omit<HarnessOptions, "run"> = {
        signal,
        save: (report) => writer.save(report),
        ...(options.bandwidth !== undefined && { bandwidth: options.bandwidth }),
        ...(baseline && {
          baseline: async () => {
            const { backend: _, ...values } = options;
            other ??= await openEngine(
              { ...values, model: path ?? values.model, device: baseline },
              terminal,
              { maxSequences: 1 },
            );
            return new EngineTarget(other, program, signal);
          },
        }),
        ...(options.verify && {
          verify: () => {
            const prompt = { count: 1, tokens: 16, seed: common.seed };
            return verified ??= verifyOnCpu(model, target, makePrompts(target.text, prompt)[0]!);
          },
        }),
      };
      let failure: { readonly error: unknown } | undefined;
      for (const { suite, run } of plans) {
        using progress = terminal.progress(`bench ${suite.name}`);
        try {
          await Harness.run(suite, target, {
            ...hooks,
            run,
            progress: (label) => {
              terminal.detail(`${suite.name}: ${label}`);
              progress.update(0, label);
            },
            ...(trace && {
              served: (label, serving) => trace.add(`${suite.name}: ${label}`, serving),
            }),
          });
        } catch (error) {
          failure = { error };
        }
        const report = writer.report(suite.name);
        for (const warning of report?.warnings ?? []) terminal.detail(warning);
        if (report && json !== "-") terminal.writeUntrusted(toMarkdown(report));
        if (trace) files.trace?.write(trace.toJson());
        if (failure || signal.aborted) break;
      }
      if (json === "-" && writer.reports.length > 0) terminal.write(writer.json());
      if (files.chart) await writeCharts(files.chart, writer.reports, terminal);
      if (failure) throw failure.error;
      signal.throwIfAborted();
      failIfChecksFailed(writer.reports);
    } finally {
      await other?.close();
      await model.close();
    }
  });
}

/** The options as they were given. */
type Values = Readonly<Record<string, unknown>>;

/** Adds the options that only some suites have. */
function addSuiteOptions(command: CommandUnknownOpts): void {
  for (const suite of SUITES) {
    for (const [name, { value, summary, parse }] of Object.entries(suite.options ?? {})) {
      command.addOption(
        new Option(`--${name} ${value}`, `${suite.name}: ${summary}`).argParser((text) => {
          try {
            return parse(text);
          } catch (error) {
            throw error instanceof RangeError ? new InvalidArgumentError(error.message) : error;
          }
        }),
      );
    }
  }
}

/** What is given of a suite's own options. */
function ownOf(suite: Suite, values: Values): RunOptions["suiteOptions"] {
  return Object.fromEntries(
    Object.keys(suite.options ?? {}).flatMap((name) =>
      values[name] === undefined ? [] : [[name, String(values[name])]]
    ),
  );
}

/** A suite's defaults, of those options that are not given. */
export function defaultsOf(
  { defaults = {} }: Pick<Suite, "defaults">,
  isGiven: (option: string) => boolean,
): NonNullable<Suite["defaults"]> {
  return Object.fromEntries(Object.entries(defaults).filter(([option]) => !isGiven(option)));
}

/** Options of a suite say nothing of others. */
function refuseUnused(suites: readonly Suite[], values: Values): void {
  for (const owner of SUITES) {
    for (const option of Object.keys(ownOf(owner, values))) {
      if (suites.includes(owner)) continue;
      throw new UsageError(
        `Cannot use --${option} with bench ${
          suites[0]!.name
        }: it is for bench ${owner.name} and bench all`,
      );
    }
  }
}

/** Parses `1,2,4` and `1-4`, rising and without repeats. */
export function counts(text: string): number[] {
  const found = new Set<number>();
  for (const part of text.split(",")) {
    const [, from, to] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim()) ?? [];
    const last = Number(to ?? from);
    if (!(Number(from) >= 1 && last >= Number(from) && last <= 256)) {
      throw new InvalidArgumentError("Expected counts from 1 to 256, as in 1,2,4 or 1-4.");
    }
    for (let count = Number(from); count <= last; count++) found.add(count);
  }
  return [...found].sort((a, b) => a - b);
}

function checkLengths(
  { promptTokens, maxTokens }: Pick<RunOptions, "promptTokens" | "maxTokens">,
  contextLength: number,
): void {
  if (promptTokens + maxTokens <= contextLength) return;
  throw new UsageError(
    `Cannot generate ${maxTokens} tokens after ${promptTokens}: the context has ${contextLength}; give a smaller -p or -n`,
  );
}

function failIfChecksFailed(reports: readonly Report[]): void {
  const failed = reports.flatMap(({ suite, checks }) =>
    checks.filter((check) => !check.ok).map(({ name, detail }) => `${suite}: ${name} (${detail})`)
  );
  if (failed.length > 0) throw new CheckFailedError(`Check failed: ${failed.join("; ")}`);
}
