/** `tvllm bench SUITE [MODEL]`: measures, and prints a report. */

import { Argument, type Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { EngineTarget } from "../bench/targets/engine_target.ts";
import { Bench, type HarnessHooks } from "../bench/harness/harness.ts";
import { namesKernels } from "../bench/kernels/names.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import { type Report, reportSchema, type RunOptions } from "../bench/report/report.ts";
import { makePrompts } from "../bench/harness/prompts.ts";
import { SUITES } from "../bench/suites/mod.ts";
import { Trace } from "../bench/report/trace.ts";
import { verifyOnCpu } from "../bench/harness/verify.ts";
import type { Model } from "../engine/mod.ts";
import denoJson from "../deno.json" with { type: "json" };
import { chartFile, writeCharts } from "./chart_file.ts";
import { CheckFailedError, UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { openEngine } from "./open_engine.ts";
import { addDeviceOptions, addGlobalOptions, decimal, integer, modelOption } from "./options.ts";
import { checkWritable, ReportFiles, writeFile } from "./report_files.ts";
import { Terminal } from "./terminal.ts";

/** Sequences and tokens of the KV cache that the suites need at least. */
const SEQUENCES = 20;
const KV_TOKENS = 8192;

const MAX_TOKENS = 2 ** 20;

/** Adds the command to `program`. */
export function addBench(program: Command): void {
  const command = program.command("bench")
    .summary("measure speed and memory, and print a report")
    .description("Measures a model on this machine and prints the report as markdown.")
    .addArgument(
      new Argument("<suite>", "what to measure; schema: print the JSON Schema of the results")
        .choices([...Object.keys(SUITES), "all", "schema"]),
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
    .option(
      "--only <list>",
      "kernels: those with these words, as in matmul/q4_1,attention",
      kernels,
    )
    .option("--shape <RxC>", "kernels: rows and columns of the matrices", shape)
    .option("--bandwidth <GB/s>", "memory bandwidth instead of the measured", decimal(0.001, 1e6))
    .option("--json <file>", "the results as JSON; -: on stdout instead of the report")
    .option("--output <file>", "the report")
    .option("--chart <file>", "charts of the results: .svg or .png", chartFile)
    .option("--trace <file>", "the runs as a Chrome or Perfetto trace")
    .option("--verify", "check some tokens on the CPU backend")
    .addOption(
      new Option("--baseline <device>", "scenarios: measure there too").choices(["cpu"] as const),
    );
  addGlobalOptions(addDeviceOptions(command)).action(async (suite, path, options, command) => {
    const startup = performance.now();
    const terminal = new Terminal(command.optsWithGlobals());
    if (suite === "schema") {
      const schema = z.union([reportSchema, z.array(reportSchema).describe("Of bench all")]);
      terminal.write(`${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`);
      return;
    }
    const { concurrency, kvType, only, shape, baseline } = options;
    const source = (name: string) => command.getOptionValueSource(name);
    if (path !== undefined && source("model") === "cli") {
      throw new UsageError(`Cannot measure both ${path} and -m ${options.model}: give one model`);
    }
    const names = suite === "all" ? Object.keys(SUITES) : [suite];
    refuseUnused(names, options);
    const { json, output, chart, trace: traceFile } = options;
    const files = { json: json === "-" ? undefined : json, output, chart, trace: traceFile };
    for (const [option, file] of Object.entries(files)) {
      if (file !== undefined) checkWritable(option, file);
    }
    const run = {
      promptTokens: options.promptTokens,
      maxTokens: options.maxTokens,
      prompts: options.prompts,
      concurrency: [...concurrency],
      seed: options.seed,
      ...(only !== undefined && { only }),
      ...(shape !== undefined && { shape }),
      date: new Date().toISOString(),
    };
    const model = await openEngine({ ...options, model: path ?? options.model }, terminal, {
      maxSequences: Math.max(SEQUENCES, run.prompts, ...concurrency),
      kvTokens: Math.max(
        KV_TOKENS,
        Math.max(run.prompts, ...concurrency) * (run.promptTokens + run.maxTokens + 16),
      ),
    });
    let other: Model | undefined;
    try {
      checkLengths(run, model.contextLength);
      if (model.runner.device.kind === "cpu" && (options.verify || baseline)) {
        throw new UsageError(
          `Cannot compare with the CPU backend: the model runs on it; leave out ${
            baseline ? "--baseline" : "--verify"
          }`,
        );
      }
      using interrupts = new Interrupts();
      const program = { tvllm: denoJson.version, kvType, startup };
      const target = new EngineTarget(model, program, interrupts.signal);
      const trace = traceFile === undefined ? undefined : new Trace();
      const writer = new ReportFiles({ json, output }, suite === "all");
      let verified: ReturnType<typeof verifyOnCpu> | undefined;
      let failure: { readonly error: unknown } | undefined;
      for (const name of names) {
        using progress = terminal.progress(`bench ${name}`);
        const hooks: HarnessHooks = {
          signal: interrupts.signal,
          progress: (label) => {
            terminal.detail(`${name}: ${label}`);
            progress.update(0, label);
          },
          save: (report) => writer.save(report),
          ...(trace && { served: (label, serving) => trace.add(`${name}: ${label}`, serving) }),
          ...(options.bandwidth !== undefined && { bandwidth: options.bandwidth }),
          ...(baseline && {
            baseline: async () => {
              const { backend: _, ...values } = options;
              other ??= await openEngine(
                { ...values, model: path ?? values.model, device: baseline },
                terminal,
                { maxSequences: 1 },
              );
              return new EngineTarget(other, program, interrupts.signal);
            },
          }),
          ...(options.verify && {
            verify: () =>
              verified ??= verifyOnCpu(model, target, makePrompts(target, 1, 16, run.seed)[0]!),
          }),
        };
        const repetitions = repetitionsOf(name, options, (option) => source(option) === "default");
        try {
          await Bench.run(name, SUITES[name]!, target, { ...run, ...repetitions }, hooks);
        } catch (error) {
          failure = { error };
        }
        const report = writer.report(name);
        for (const warning of report?.warnings ?? []) terminal.detail(warning);
        if (report && json !== "-") terminal.writeUntrusted(toMarkdown(report));
        if (trace) writeFile(traceFile!, trace.toJson());
        if (failure || interrupts.signal.aborted) break;
      }
      if (json === "-" && writer.reports.length > 0) terminal.write(writer.json());
      if (chart !== undefined) await writeCharts(chart, writer.reports, terminal);
      if (failure) throw failure.error;
      interrupts.signal.throwIfAborted();
      failIfChecksFailed(writer.reports);
    } finally {
      await other?.close();
      await model.close();
    }
  });
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

/** Runs to warm up and to count; scenarios, whose requests are long, have defaults of their own. */
export function repetitionsOf(
  suite: string,
  given: { readonly warmup: number; readonly repetitions: number; readonly iterations?: number },
  isDefault: (option: "warmup" | "repetitions") => boolean,
): Pick<RunOptions, "warmup" | "repetitions"> {
  const own = suite === "scenarios" ? { warmup: 3, repetitions: 5 } : given;
  return {
    warmup: isDefault("warmup") ? own.warmup : given.warmup,
    repetitions: given.iterations ??
      (isDefault("repetitions") ? own.repetitions : given.repetitions),
  };
}

/** Options of a single suite say nothing of others. */
function refuseUnused(
  suites: readonly string[],
  options: { readonly only?: string; readonly shape?: string; readonly baseline?: string },
): void {
  const owners = { only: "kernels", shape: "kernels", baseline: "scenarios" } as const;
  for (const [option, owner] of Object.entries(owners)) {
    if (options[option as keyof typeof owners] === undefined || suites.includes(owner)) continue;
    throw new UsageError(
      `Cannot use --${option} with bench ${suites[0]}: it is for bench ${owner} and bench all`,
    );
  }
}

/** Words of the names of kernels, by commas. */
function kernels(text: string): string {
  if (namesKernels(text)) return text;
  throw new InvalidArgumentError(
    "Expected words such as matmul, experts, attention, sampling or a format: matmul/q4_1.",
  );
}

/** A matrix's rows and columns, as in `1536x768`; columns are whole blocks of 32. */
function shape(text: string): string {
  const [, rows, columns] = /^(\d{1,6})x(\d{1,6})$/.exec(text) ?? [];
  if (Number(rows) >= 1 && Number(columns) >= 32 && Number(columns) % 32 === 0) return text;
  throw new InvalidArgumentError("Expected ROWSxCOLUMNS, columns in multiples of 32: 1536x768.");
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
