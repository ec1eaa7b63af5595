/** `tvllm bench SUITE [MODEL]`: measures, and prints a report. */

import {
  Argument,
  type Command,
  type CommandUnknownOpts,
  InvalidArgumentError,
  Option,
} from "@commander-js/extra-typings";
import { z } from "zod";
import type { Suite } from "../bench/harness/harness.ts";
import { parseSampling } from "../bench/harness/sampling.ts";
import { reportSchema, type RunOptions } from "../bench/report/report.ts";
import { SUITES } from "../bench/suites/mod.ts";
import { benchModels, type BenchValues } from "./bench_models.ts";
import { chartFile } from "./chart_file.ts";
import { UsageError } from "./exit_codes.ts";
import { commandLine, type Launch, startupTime } from "./host.ts";
import { addDeviceOptions, addGlobalOptions, decimal, integer } from "./options.ts";
import { openOutputFiles } from "./output_file.ts";
import { Terminal } from "./terminal.ts";

const MAX_TOKENS = 2 ** 20;

/** Prompts that differ, as people begin. */
const PROMPT_TEXTS = ["Hello", "How are you", "Tell me a story"];
const MOST_PROMPTS = 64;

/** Adds the command to `program`. */
export function addBench(
  program: Command,
  started: { readonly launch: Launch; readonly args: readonly string[] },
): void {
  const command = program.command("bench")
    .summary("measure speed and memory, and print a report")
    .description("Measures a model on this machine and prints the report as markdown.")
    .addArgument(
      new Argument("<suite>", "what to measure; schema: print the JSON Schema of the results")
        .choices([...SUITES.map(({ name }) => name), "all", "schema"]),
    )
    .argument("[model]", "a .gguf file, instead of -m")
    .addOption(
      new Option(
        "-m, --model <spec>",
        "the model; repeat it, or separate several by commas, to compare them",
      ).env("TVLLM_MODEL").argParser(modelSpecs),
    )
    .option("-p, --prompt-tokens <n>", "length of the prompts", integer(1, MAX_TOKENS), 64)
    .option("-n, --max-tokens <n>", "tokens to generate", integer(2, MAX_TOKENS), 32)
    .option("--prompts <n>", "how many requests", integer(1, 256), 4)
    .option("-r, --repetitions <n>", "measured repetitions", integer(1, 1000), 7)
    .addOption(
      new Option("--iterations <n>", "the same as --repetitions").argParser(integer(1, 1000))
        .hideHelp(),
    )
    .option(
      "--warmup <n>",
      "warm-up runs; by default until three agree within 3 %, five at most",
      integer(0, 1000),
    )
    .option("--concurrency <list>", "requests at once: 1,2,4 or 1-4", counts(256), [1, 2, 4, 8])
    .option(
      "--contexts <list>",
      "lengths of the prompts in tables by context",
      counts(MAX_TOKENS),
      [32, 128, 256, 512],
    )
    .option("--sequences <list>", "sequences in the KV cache (memory)", counts(256), [1, 2, 4, 8])
    .option("--prompts-file <file>", "prompts of the table by prompt, one a line (latency)")
    .option(
      "--sampling <how>",
      "greedy, default (as generate), or as in temp=0.7,top-k=20",
      sampling,
    )
    .option("--seed <n>", "chooses the prompts", integer(0, 2 ** 31 - 1), 0)
    .option(
      "--bandwidth <GB/s>",
      "use this memory bandwidth instead of measuring it",
      decimal(0.001, 1e6),
    )
    .option("--json <file>", "the results as JSON; -: on stdout instead of the report")
    .option("--csv <file>", "the results as CSV, a line each")
    .option("--output <file>", "the report")
    .option("--chart <file>", "charts of the results: .svg or .png", chartFile)
    .option("--trace <file>", "the runs as a Chrome or Perfetto trace")
    .option("--dump-kernels <file>", "the model's GPU kernels as WGSL, with their launch sizes")
    .option("--explain", "end the report with what its metrics mean")
    .option("--verify", "check some tokens on the CPU backend");
  addSuiteOptions(command);
  // deno-lint-ignore tvllm/max-parameters -- commander's callback
  addGlobalOptions(addDeviceOptions(command)).action(async (name, path, options, command) => {
    const startup = startupTime(started.launch);
    const terminal = new Terminal(command.optsWithGlobals());
    if (name === "schema") {
      const many = z.array(reportSchema).describe("Of bench all, and of several models");
      const schema = z.union([reportSchema, many]);
      terminal.write(`${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`);
      return;
    }
    const models: readonly string[] = options.model ?? [];
    if (path !== undefined && command.getOptionValueSource("model") === "cli") {
      throw new UsageError(`Cannot measure both ${path} and -m ${models.join()}: give one of them`);
    }
    const suites = SUITES.filter((suite) => name === "all" || suite.name === name);
    const given: Values = command.opts();
    refuseUnused(suites, given);
    const { json, csv, output, chart, trace, dumpKernels } = options;
    using files = openOutputFiles({
      json: json === "-" ? undefined : json,
      ...{ csv, output, chart, trace, "dump-kernels": dumpKernels },
    });
    const run: RunOptions = {
      promptTokens: options.promptTokens,
      maxTokens: options.maxTokens,
      prompts: options.prompts,
      warmup: options.warmup ?? "steady",
      repetitions: options.iterations ?? options.repetitions,
      concurrency: [...options.concurrency],
      contexts: [...options.contexts],
      sequences: [...options.sequences],
      promptTexts: promptTexts(options.promptsFile),
      sampling: { ...(options.sampling ?? parseSampling("greedy")) },
      seed: options.seed,
      suiteOptions: {},
      date: new Date().toISOString(),
      command: commandLine(started.args),
    };
    const values: BenchValues = {
      ...options,
      models: path === undefined ? models : [path],
      several: name === "all",
      jsonToStdout: json === "-",
      files,
    };
    const plans = suites.map((suite) => {
      const own = { ...run, suiteOptions: ownOf(suite, given) };
      return { suite, run: own, needs: suite.needs(own) };
    });
    await benchModels(plans, values, { terminal, launch: started.launch, startup });
  });
}

/** The options as they were given. */
type Values = Readonly<Record<string, unknown>>;

/** Adds the options that only some suites have. */
function addSuiteOptions(command: CommandUnknownOpts): void {
  for (const suite of SUITES) {
    for (const [name, { value, summary, parse }] of Object.entries(suite.options ?? {})) {
      command.addOption(
        new Option(`--${name} ${value}`, `${suite.name}: ${summary}`).argParser((text) =>
          orInvalid(() => parse(text))
        ),
      );
    }
  }
}

/** What a parser returns, its RangeError in commander's form. */
function orInvalid<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof RangeError ? new InvalidArgumentError(error.message) : error;
  }
}

function sampling(text: string): RunOptions["sampling"] {
  return orInvalid(() => parseSampling(text));
}

/** What is given of a suite's own options. */
function ownOf(suite: Suite, values: Values): RunOptions["suiteOptions"] {
  return Object.fromEntries(
    Object.keys(suite.options ?? {}).flatMap((name) =>
      values[name] === undefined ? [] : [[name, String(values[name])]]
    ),
  );
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

/** Collects models, several of them separated by commas unless a file is named so. */
export function modelSpecs(text: string, earlier: readonly string[] = []): readonly string[] {
  const specs = isFile(text) ? [text] : text.split(",").filter((spec) => spec !== "");
  return [...earlier, ...specs];
}

function isFile(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Parses `1,2,4` and `1-4`, rising and without repeats. */
export function counts(most: number): (text: string) => number[] {
  return (text) => {
    const found = new Set<number>();
    for (const part of text.split(",")) {
      const [, from, to] = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(part.trim()) ?? [];
      const last = Number(to ?? from);
      const inOrder = Number(from) >= 1 && last >= Number(from) && last <= most;
      if (!inOrder || last - Number(from) > 256) {
        throw new InvalidArgumentError(`Expected counts from 1 to ${most}, as in 1,2,4 or 1-4.`);
      }
      for (let count = Number(from); count <= last; count++) found.add(count);
    }
    return [...found].sort((a, b) => a - b);
  };
}

/** The prompts of a file, one a line, or those that people begin with. */
function promptTexts(file: string | undefined): string[] {
  if (file === undefined) return PROMPT_TEXTS;
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${error instanceof Error ? error.message : error}`);
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length >= 1 && lines.length <= MOST_PROMPTS) return lines;
  throw new UsageError(
    `Cannot use the prompts of ${file}: it has ${lines.length} lines, not 1 to ${MOST_PROMPTS}`,
  );
}
