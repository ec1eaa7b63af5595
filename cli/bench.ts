/** `tvllm bench SUITE [MODEL]`: runs a benchmark and prints a report. */

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
import { SERVER_SUITES, SUITES } from "../bench/suites/mod.ts";
import { printable } from "../engine/files/quote.ts";
import { benchEndpoint } from "./bench_endpoint.ts";
import { addBenchAb } from "./bench_ab.ts";
import { benchModels, type BenchValues } from "./bench_models.ts";
import { chartFile, pageFile } from "./chart_file.ts";
import { addEndpointOptions, endpointOf } from "./endpoint_options.ts";
import { UsageError } from "./exit_codes.ts";
import { replacerOf } from "./file_replacer.ts";
import { commandLine, type Launch, startupTime } from "./host.ts";
import { addDeviceSweeps, combinations, numbers, orInvalid } from "./device_sweeps.ts";
import { addGlobalOptions, decimal, integer } from "./options.ts";
import { modelSpecs } from "./model_specs.ts";
import { openOutputFiles } from "./output_file.ts";
import { readTextFile } from "./prompt_input.ts";
import { Terminal } from "./terminal.ts";

const MAX_TOKENS = 2 ** 20;
/** Limit of --requests for bench load. */
const MOST_REQUESTS = 100_000;
/** Limit of --requests for other suites, which may submit all of them at once. */
const MOST_AT_ONCE = 256;
const ALL_SUITES = [...SUITES, ...SERVER_SUITES];

/** Default prompts of the table Per-Prompt Latency: typical openings by people. */
const PROMPT_TEXTS = ["Hello", "How are you", "Tell me a story"];
const MOST_PROMPTS = 64;

/** Adds the command to `program`. */
export function addBench(
  program: Command,
  started: { readonly launch: Launch; readonly args: readonly string[] },
): void {
  const bare = program.command("bench")
    .summary("measure a model's speed and memory, and print a report")
    .usage(
      "[options] <suite> [model]\n       tvllm bench ab [options] -- <options of A> -- <options of B>",
    )
    .description(
      "Measures a model on this machine and prints a Markdown report. bench ab --help has the options of bench ab.",
    )
    .addArgument(
      new Argument(
        "<suite>",
        'suite to run; "schema" prints the JSON Schema of the results instead; tvllm help bench explains the suites',
      )
        .choices([...ALL_SUITES.map(({ name }) => name), "all", "schema"]),
    )
    .argument("[model]", "model, as with -m")
    .addOption(
      new Option(
        "-m, --model <spec>",
        "model; to compare several, repeat the option or separate the models with commas",
      ).env("TVLLM_MODEL").argParser(modelSpecs),
    );
  const command = addEndpointOptions(bare, "measure")
    .option(
      "--tokenizer <model>",
      "with --endpoint: count tokens with the tokenizer of this .gguf file or directory",
    )
    .addOption(
      new Option("-p, --prompt-tokens <n>", "prompt length in tokens")
        .argParser(numbers({ least: 0, most: MAX_TOKENS }))
        .default([64], "64; in suite speed: 512, and lists are accepted"),
    )
    .addOption(
      new Option("-n, --max-tokens <n>", "tokens to generate")
        .argParser(numbers({ least: 0, most: MAX_TOKENS }))
        .default([32], "32; in suite speed: 128, and lists are accepted"),
    )
    .option(
      "--requests <n>",
      "throughput, latency, load: number of requests",
      integer(1, MOST_REQUESTS),
      4,
    )
    .addOption(
      new Option("--prompts <n>", "the same as --requests").argParser(integer(1, MOST_REQUESTS))
        .hideHelp(),
    )
    .option("-r, --repetitions <n>", "measured repetitions of each case", integer(1, 1000), 7)
    .addOption(
      new Option("--iterations <n>", "the same as --repetitions").argParser(integer(1, 1000))
        .hideHelp(),
    )
    .option(
      "--warmup <n>",
      "warm-up runs (default: until three agree within 3 %, at most five)",
      integer(0, 1000),
    )
    .option(
      "--concurrency <list>",
      "scalability, kernels, load: numbers of simultaneous requests, such as 1,2,4 or 1-4",
      counts(256),
      [1, 2, 4, 8],
    )
    .option(
      "--contexts <list>",
      "throughput, latency: prompt lengths in the table Context Length Scaling",
      counts(MAX_TOKENS),
      [32, 128, 256, 512],
    )
    .option("--sequences <list>", "memory: numbers of sequences in the KV cache", counts(256), [
      1,
      2,
      4,
      8,
    ])
    .option(
      "--prompts-file <file>",
      "latency: prompts of the table Per-Prompt Latency, one per line",
    )
    .option(
      "--sampling <how>",
      "how to choose tokens: greedy, default (the defaults of generate), or values such as temp=0.7,top-k=20 (default: greedy)",
      sampling,
    )
    .option("--seed <n>", "random seed of the prompts and of sampling", integer(0, 2 ** 31 - 1), 0)
    .option(
      "--bandwidth <GB/s>",
      "memory bandwidth for the theoretical limits (default: measured)",
      decimal(0.001, 1e6),
    )
    .addOption(
      new Option("-o, --format <form>", "what to print: the report (md) or its results as data")
        .choices(["md", "json", "jsonl", "csv"]).default("md" as const),
    )
    .option(
      "--json [file]",
      "write the results as JSON to a file; without a file name, print them instead of the report",
    )
    .option("--csv <file>", "write the results as CSV, one result per line")
    .option("--output <file>", "write the report to a file")
    .option(
      "--chart <file>",
      "write charts to a .svg or .png file; if the name ends in .dark.svg or .dark.png, the charts are dark",
      chartFile,
    )
    .option("--html <file>", "write the report as a web page with charts", pageFile)
    .option("--trace <file>", "write a trace of the runs, for Perfetto or chrome://tracing")
    .option(
      "--dump-kernels <file>",
      "write the model's GPU kernels as WGSL, with their workgroup counts",
    )
    .option("--explain", "explain the metrics at the end of the report")
    .option("--verify", "compare some tokens with those of the reference, which runs on the CPU");
  addSuiteOptions(command);
  addBenchAb(command, started);
  // deno-lint-ignore tvllm/max-parameters -- commander's callback
  addGlobalOptions(addDeviceSweeps(command)).action(async (name, path, options, command) => {
    const startup = startupTime(started.launch);
    const terminal = new Terminal(command.optsWithGlobals());
    if (name === "schema") {
      const many = z.array(reportSchema).describe("The reports of bench all, or of several models");
      const schema = z.union([reportSchema, many]);
      terminal.write(`${JSON.stringify(z.toJSONSchema(schema), null, 2)}\n`);
      return;
    }
    const models: readonly string[] = options.model ?? [];
    if (path !== undefined && command.getOptionValueSource("model") === "cli") {
      throw new UsageError(`Cannot measure both ${path} and -m ${models.join()}: give one of them`);
    }
    const suites = name === "all" ? SUITES : ALL_SUITES.filter((suite) => suite.name === name);
    const given: Values = command.opts();
    refuseUnused(suites, given);
    if (options.prompts !== undefined) {
      terminal.note(
        "--prompts is now called --requests (in tvllm generate, --prompts names a file)",
      );
    }
    const { csv, output, chart, html, trace, dumpKernels } = options;
    const jsonToStdout = options.json === true || options.json === "-";
    const json = typeof options.json === "string" && !jsonToStdout ? options.json : undefined;
    const sweeps = suites.length === 1 && suites[0]!.sweeps !== undefined;
    const lengths = {
      promptTokens: sweeps
        ? options.promptTokens[0]!
        : single("prompt-tokens", options.promptTokens, 1),
      maxTokens: sweeps ? options.maxTokens[0]! : single("max-tokens", options.maxTokens, 2),
    };
    const inputs = [...models, path, options.promptsFile].filter((input) => input !== undefined);
    using files = openOutputFiles(
      { json, csv, output, chart, html, trace, "dump-kernels": dumpKernels },
      { inputs, replacer: replacerOf(started.launch), terminal },
    );
    const run: RunOptions = {
      ...lengths,
      prompts: options.prompts ?? options.requests,
      warmup: options.warmup ?? "steady",
      repetitions: options.iterations ?? options.repetitions,
      concurrency: [...options.concurrency],
      contexts: [...options.contexts],
      sequences: [...options.sequences],
      promptTexts: await promptTexts(options.promptsFile),
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
      devices: combinations(options),
      format: jsonToStdout ? "json" : options.format,
      files,
    };
    const endpoint = endpointOf(options);
    if (
      endpoint !== undefined &&
      (path !== undefined || command.getOptionValueSource("model") === "cli")
    ) {
      throw new UsageError("Cannot measure both a model and an endpoint: give one of them");
    }
    if (endpoint === undefined && options.tokenizer !== undefined) {
      throw new UsageError("Cannot use --tokenizer without --endpoint: a model has its own");
    }
    const forServers = suites.find((suite) => SERVER_SUITES.includes(suite));
    if (endpoint === undefined && forServers !== undefined) {
      throw new UsageError(
        `Cannot run bench ${forServers.name} without --endpoint: it measures a server`,
      );
    }
    if (forServers === undefined && run.prompts > MOST_AT_ONCE) {
      throw new UsageError(
        `Cannot measure ${run.prompts} requests: the limit is ${MOST_AT_ONCE}, except in bench load`,
      );
    }
    const plans = suites.map((suite) => {
      const own = { ...run, suiteOptions: { ...sweepsOf(suite, command), ...ownOf(suite, given) } };
      return { suite, run: own, needs: suite.needs(own) };
    });
    const place = { terminal, launch: started.launch, startup };
    if (endpoint === undefined) return await benchModels(plans, values, place);
    await benchEndpoint(plans, values, { ...place, endpoint });
  });
}

/** The values of all options, by attribute name. */
type Values = Readonly<Record<string, unknown>>;

/** Adds the options that only some suites have. */
function addSuiteOptions(command: CommandUnknownOpts): void {
  for (const suite of ALL_SUITES) {
    for (const [name, option] of Object.entries(suite.options ?? {})) {
      const { value, summary, accepts, expected } = option;
      command.addOption(
        new Option(`--${flagOf(name)} ${value}`, `${suite.name}: ${summary}`).argParser((text) => {
          if (accepts(text)) return text;
          throw new InvalidArgumentError(`Expected ${expected}.`);
        }),
      );
    }
  }
}

function sampling(text: string): RunOptions["sampling"] {
  return orInvalid(() => parseSampling(text));
}

/** The suite's own options that were given. */
function ownOf(suite: Suite, values: Values): RunOptions["suiteOptions"] {
  return Object.fromEntries(
    Object.keys(suite.options ?? {}).flatMap((name) =>
      values[name] === undefined ? [] : [[name, String(values[name])]]
    ),
  );
}

/** The lists of lengths that a suite sweeps over; its own lists where none were given. */
function sweepsOf({ sweeps }: Suite, command: CommandUnknownOpts): RunOptions["suiteOptions"] {
  if (sweeps === undefined) return {};
  const lists: Record<string, string> = {};
  for (const name of ["promptTokens", "maxTokens"] as const) {
    const given = command.getOptionValueSource(name) === "cli";
    lists[name] = given ? String(command.getOptionValue(name)) : sweeps[name];
  }
  return lists;
}

/** The option's name on the command line: `requestRate` becomes `request-rate`. */
function flagOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** @throws {UsageError} if an option of a suite that does not run was given. */
function refuseUnused(suites: readonly Suite[], values: Values): void {
  for (const owner of ALL_SUITES) {
    for (const option of Object.keys(ownOf(owner, values))) {
      if (suites.includes(owner)) continue;
      throw new UsageError(
        `Cannot use --${flagOf(option)} with bench ${
          suites[0]!.name
        }: it is for bench ${owner.name}` +
          (SUITES.includes(owner) ? " and bench all" : ""),
      );
    }
  }
}

/** Returns a parser of lists and ranges, such as `1,2,4` or `1-4`. Sorts, and drops repeats. */
export function counts(most: number): (text: string) => number[] {
  const parse = numbers({ least: 1, most });
  return (text) => parse(text).sort((a, b) => a - b);
}

/**
 * Returns the length for suites that accept only one.
 *
 * @throws {UsageError} if several lengths were given, or if it is less than `least`.
 */
function single(name: string, lengths: readonly number[], least: number): number {
  const [length = 0] = lengths;
  if (lengths.length === 1 && length >= least) return length;
  throw new UsageError(
    `Cannot measure --${name} ${lengths.join()}: ${
      lengths.length === 1 ? `expected ${least} or more` : "only bench speed accepts a list"
    }`,
  );
}

/** Returns the prompts of a file, one per line, or the default ones. */
async function promptTexts(file: string | undefined): Promise<string[]> {
  if (file === undefined) return PROMPT_TEXTS;
  const text = await readTextFile(file);
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length >= 1 && lines.length <= MOST_PROMPTS) return lines;
  throw new UsageError(
    `Cannot use the prompts in ${
      printable(file)
    }: it has ${lines.length} lines; expected 1 to ${MOST_PROMPTS}`,
  );
}
