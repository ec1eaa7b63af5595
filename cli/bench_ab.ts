/**
 * `tvllm bench ab -- A -- B`: compares two settings, or two checkouts, in interleaved runs until
 * the result is clear or the time is over.
 */

import {
  Command,
  type CommanderError,
  type CommandUnknownOpts,
  Option,
} from "@commander-js/extra-typings";
import { type Ending, type Race, race } from "../bench/harness/race.ts";
import { parseSampling } from "../bench/harness/sampling.ts";
import { compare } from "../bench/report/comparison/comparison.ts";
import { CONDITIONS } from "../bench/report/comparison/conditions.ts";
import { comparisonCsv, comparisonMarkdown } from "../bench/report/comparison/views.ts";
import { percent } from "../bench/report/format.ts";
import type { RunOptions } from "../bench/report/report.ts";
import { EngineTarget } from "../bench/targets/engine_target.ts";
import type { Program } from "../bench/targets/environment.ts";
import type { Model } from "../engine/mod.ts";
import { checkoutAt, openCheckouts, ownCheckout } from "./ab_checkouts.ts";
import { engineSide, Racer, type Side } from "./ab_sides.ts";
import { describeProgram } from "./bench_program.ts";
import { pageFile, writeComparisonPage } from "./chart_file.ts";
import { failIfAnySlower, percentage } from "./compare.ts";
import { UsageError } from "./exit_codes.ts";
import { replacerOf } from "./file_replacer.ts";
import { commandLine, describeHost, type Launch, startupTime } from "./host.ts";
import { Interrupts } from "./interrupt.ts";
import { HashCache } from "./model_hash.ts";
import { modelPaths } from "./model_argument.ts";
import { openEngine } from "./open_engine.ts";
import {
  addDeviceOptions,
  addGlobalOptions,
  decimal,
  type DeviceValues,
  integer,
  modelOption,
} from "./options.ts";
import { openOutputFiles } from "./output_file.ts";
import { RaceLine } from "./suite_progress.ts";
import { Terminal } from "./terminal.ts";

const MAX_TOKENS = 2 ** 20;
const WARM_UPS = 3;

/** Adds the subcommand to `bench`. */
export function addBenchAb(
  bench: CommandUnknownOpts,
  started: { readonly launch: Launch; readonly args: readonly string[] },
): void {
  const command = (bench as unknown as Command).command("ab")
    .summary("compare two sets of options in interleaved runs")
    .usage("[options] -- <options of A> -- <options of B>")
    .description(
      "Compares two settings, or two checkouts, in interleaved runs (A B B A). Stops when they differ " +
        "significantly, when they are equal within --margin, or after --budget seconds. Options for each side: -m, " +
        "--device, --threads, -c, --kv-memory, --kv-type.",
    )
    .argument(
      "[sides...]",
      "options of A, then -- and the options of B; with --against, they may be omitted, or given once for both",
    )
    .option("-p, --prompt-tokens <n>", "prompt length in tokens", integer(1, MAX_TOKENS), 64)
    .option("-n, --max-tokens <n>", "tokens to generate", integer(2, MAX_TOKENS), 32)
    .option("--seed <n>", "random seed of the prompt and of the order", integer(0, 2 ** 31 - 1), 0)
    .addOption(
      new Option("--metric <id>", "metric that decides when to stop").choices([
        "e2e",
        "ttft",
        "tpot",
      ])
        .default("e2e" as const),
    )
    .option("--budget <s>", "maximum time in seconds", decimal(0.1, 1e6), 60)
    .option(
      "--against <dir>",
      "compare the checkout in dir (A) with the checkout whose tvllm you started (B); each runs in its own process",
    )
    .addOption(
      new Option("--margin <percent>", "largest difference that counts as equal").argParser(
        percentage,
      )
        .default(0.01, "1%"),
    )
    .option(
      "--fail-if-slower <percent>",
      'exit with code 7 if the verdict on B is "slower" and the slowdown exceeds this',
      percentage,
    )
    .option("--json <file>", "write both sides as JSON, for `tvllm compare`")
    .option("--csv <file>", "write the comparison as CSV")
    .option("--html <file>", "write the comparison as a web page with a chart", pageFile)
    .option("--output <file>", "write the comparison as Markdown");
  addGlobalOptions(command).exitOverride((error) => {
    const option = unknownOption(error, sideCommand());
    if (option === undefined) throw error;
    if (option === "--backend") throw backendOfSide();
    throw new UsageError(
      `Cannot use ${option} before the first --: it is an option of a side, as in ` +
        "tvllm bench ab -- --threads 1 -- --threads 2",
    );
  }).action(async (given, options, command) => {
    const startup = startupTime(started.launch);
    const terminal = new Terminal(command.optsWithGlobals());
    const { json, csv, html, output, metric, margin, failIfSlower } = options;
    using files = openOutputFiles({ json, csv, html, output }, {
      replacer: replacerOf(started.launch),
      terminal,
    });
    using interrupts = new Interrupts();
    const { signal } = interrupts;
    using hashes = HashCache.open({ terminal, signal });
    const run: RunOptions = {
      promptTokens: options.promptTokens,
      maxTokens: options.maxTokens,
      prompts: 1,
      warmup: WARM_UPS,
      repetitions: 0,
      concurrency: [],
      contexts: [],
      sequences: [],
      promptTexts: [],
      sampling: { ...parseSampling("greedy") },
      seed: options.seed,
      suiteOptions: { metric },
      date: new Date().toISOString(),
      command: commandLine(started.args),
    };
    const parse = (args: readonly string[]) => parseSide(args, command);
    const sides: Side[] = [];
    try {
      const place = { parse, terminal, hashes, launch: started.launch, startup, run, signal };
      const opened = options.against === undefined
        ? await openSides(given, place)
        : await openAgainst(options.against, given, place);
      sides.push(...opened);
      const [a, b] = opened.map((side) => new Racer(side, run)) as [Racer, Racer];
      using line = new RaceLine(metric, 1000 * options.budget, terminal);
      const result = await race(() => a.run(), () => b.run(), {
        metric,
        margin,
        budget: 1000 * options.budget,
        warmUps: WARM_UPS,
        seed: run.seed,
        now: () => performance.now(),
        signal,
        progress: (race) => line.update(race),
      });
      line[Symbol.dispose]();
      const id = crypto.randomUUID();
      const reports = [
        a.report(result.a, { id, side: "A" }),
        b.report(result.b, { id, side: "B" }),
      ];
      const comparison = compare(
        { name: `A (${a.side.name})`, reports: reports.slice(0, 1) },
        { name: `B (${b.side.name})`, reports: reports.slice(1) },
        { across: CONDITIONS },
      );
      const concluded = conclusion(result, options);
      const markdown = `${comparisonMarkdown([comparison])}\n${concluded}\n`;
      terminal.write(markdown);
      files.output?.write(markdown);
      files.csv?.write(comparisonCsv([comparison]));
      if (files.html) await writeComparisonPage(files.html, [comparison], [concluded]);
      files.json?.write(`${JSON.stringify(reports, null, 2)}\n`);
      signal.throwIfAborted();
      if (failIfSlower !== undefined) failIfAnySlower([comparison], failIfSlower);
    } finally {
      for (const side of sides) await side.close();
    }
  });
}

interface AbPlace {
  /** Parses the options of a side. */
  readonly parse: (args: readonly string[]) => SideValues;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
  readonly hashes: HashCache;
  readonly launch: Launch;
  readonly startup: Program["startup"];
  readonly run: RunOptions;
}

/** Opens both sides in this process. */
async function openSides(
  given: readonly string[],
  { parse, terminal, hashes, launch, startup, run, signal }: AbPlace,
): Promise<Side[]> {
  const sides: Side[] = [];
  const models: Model[] = [];
  try {
    const both = sidesOf(splitSides(given), parse);
    const paths = await modelPaths(both.map(({ values }) => values.model), terminal);
    for (const [i, { args, values }] of both.entries()) {
      const engine = { ...values, model: paths[i] };
      const model = await openEngine(engine, terminal, { maxSequences: 1, signal });
      models.push(model);
      const program = await describeProgram(model, { ...values, hashes, launch, startup });
      const target = await EngineTarget.open(model, program, signal);
      sides.push(engineSide(args.join(" "), target, run));
    }
    return sides;
  } catch (error) {
    for (const model of models) await model.close();
    throw error;
  }
}

/**
 * Starts the checkout in `directory` as side A, and this checkout as side B. A single list of
 * options applies to both sides.
 */
async function openAgainst(
  directory: string,
  given: readonly string[],
  { parse, terminal, hashes, launch, run, signal }: AbPlace,
): Promise<Side[]> {
  const options = given.includes("--") ? splitSides(given) : [given, given];
  const places = [checkoutAt(directory), ownCheckout()];
  const sides = sidesOf(options, parse).map(({ args, values }, i) => ({
    name: [i === 0 ? directory : "this checkout", ...args].join(" "),
    directory: places[i]!,
    values,
  }));
  return await openCheckouts(sides, {
    ...{ run, hashes, terminal, signal },
    host: describeHost(launch),
    deno: launch.get("deno") ?? Deno.execPath(),
  });
}

/** Returns the result of the race, and why it ended, in a sentence. */
function conclusion(
  { rounds, ratio, interval, ending }: Race,
  { metric, margin, budget }: {
    readonly metric: string;
    readonly margin: number;
    readonly budget: number;
  },
): string {
  const said: Record<Ending, string> = {
    difference: `B takes ${Math.abs(100 * (ratio - 1)).toFixed(1)} % ${
      ratio > 1 ? "longer" : "less time"
    } than A`,
    equal: `A and B are equal within ${percent(margin)}`,
    interrupted: "no difference was found before the interruption",
    budget: `no difference was found in ${budget} s; raise --budget to measure longer`,
  };
  const spread = interval === undefined
    ? "no interval yet"
    : `[${interval.map((end) => end.toFixed(3)).join(", ")}]`;
  return `**By ${metric}, ${said[ending!]}** (${
    ratio.toFixed(3)
  } ${spread} after ${rounds} rounds of four runs). ` +
    "The interval misses the true ratio in at most 5 of 100 such measurements, even though they stop as soon as the result is clear.";
}

/**
 * Splits the arguments at `--` into those of A and those of B.
 *
 * @throws {UsageError} if there is no `--`.
 */
function splitSides(args: readonly string[]): [string[], string[]] {
  const at = args.indexOf("--");
  if (at < 0) {
    throw new UsageError(
      "Cannot compare one side: give two, as in tvllm bench ab -- --threads 1 -- --threads 2",
    );
  }
  return [args.slice(0, at), args.slice(at + 1)];
}

/** Parses the options of all sides, so that a mistake is reported before anything is opened. */
function sidesOf(both: readonly (readonly string[])[], parse: AbPlace["parse"]) {
  return both.map((args) => ({ args, values: parse(args) }));
}

type SideValues = DeviceValues & { readonly model?: string | undefined };

/** The command whose options are those of a side. */
function sideCommand() {
  return addDeviceOptions(new Command("bench ab").addOption(modelOption()))
    .helpOption(false).allowExcessArguments(false).configureOutput({ writeErr: () => {} });
}

/** Parses the options of a side. `whole` is `bench ab` with its own options. */
function parseSide(args: readonly string[], whole: Pick<Command, "options">): SideValues {
  const command = sideCommand().exitOverride((error) => {
    const option = unknownOption(error, whole);
    if (option === undefined) throw error;
    throw new UsageError(
      `Cannot use ${option} for a side: it is an option of the comparison; put it before the first --`,
    );
  });
  const values = command.parse([...args], { from: "user" }).opts();
  if (values.backend === undefined) return values;
  throw backendOfSide();
}

/** Returns the option that is unknown according to `error`, if `other` has it. */
function unknownOption(
  { code, message }: CommanderError,
  { options }: Pick<Command, "options">,
): string | undefined {
  const [, flag] = /'([^'=]+)/.exec(message) ?? [];
  if (code !== "commander.unknownOption" || flag === undefined) return undefined;
  return options.some(({ short, long }) => flag === short || flag === long) ? flag : undefined;
}

function backendOfSide(): UsageError {
  return new UsageError(
    "Cannot use --backend for a side: a process can use only one graphics API; measure each with " +
      "tvllm bench --json and use tvllm compare",
  );
}
