/** `tvllm bench ab -- A -- B`: two settings, interleaved in one process, until one is shown faster. */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { makePrompts } from "../bench/harness/prompts.ts";
import { hashOf } from "../bench/harness/output_check.ts";
import { Recorder } from "../bench/harness/recorder.ts";
import { type Ending, type Measured, type Race, race } from "../bench/harness/race.ts";
import { decodeRate, endToEnd, prefillRate, tpot, ttft } from "../bench/harness/timings.ts";
import { compare } from "../bench/report/comparison/comparison.ts";
import { CONDITIONS } from "../bench/report/comparison/conditions.ts";
import { comparisonCsv, comparisonMarkdown } from "../bench/report/comparison/views.ts";
import {
  DECODE_THROUGHPUT,
  E2E,
  type Metric,
  PREFILL_THROUGHPUT,
  TPOT,
  TTFT,
} from "../bench/report/metrics.ts";
import type { Report, RunOptions } from "../bench/report/report.ts";
import { parseSampling } from "../bench/harness/sampling.ts";
import { EngineTarget } from "../bench/targets/engine_target.ts";
import type { Served } from "../bench/targets/target.ts";
import type { Model } from "../engine/mod.ts";
import { answerTooLong } from "../engine/run/sequence.ts";
import { describeProgram } from "./bench_program.ts";
import { failIfAnySlower, percentage } from "./compare.ts";
import { UsageError } from "./exit_codes.ts";
import { commandLine, type Launch, startupTime } from "./host.ts";
import { Interrupts } from "./interrupt.ts";
import { HashCache } from "./model_hash.ts";
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
import { Terminal } from "./terminal.ts";

const MAX_TOKENS = 2 ** 20;
const WARM_UPS = 3;

const METRICS: readonly Metric[] = [E2E, TTFT, TPOT, DECODE_THROUGHPUT, PREFILL_THROUGHPUT];

/** Adds the command below `bench`. */
export function addBenchAb(
  bench: CommandUnknownOpts,
  started: { readonly launch: Launch; readonly args: readonly string[] },
): void {
  const command = (bench as unknown as Command).command("ab")
    .summary("interleave two settings until one is shown to be faster")
    .usage("[options] -- <options of A> -- <options of B>")
    .description(
      "Interleaves two settings in one process, A B B A, until a difference is shown, or that there " +
        "is none. Options of A and of B: -m, --device, --threads, -c, --kv-memory, --kv-type.",
    )
    .argument("[sides...]", "options of A, then -- and those of B")
    .option("-p, --prompt-tokens <n>", "length of the prompt", integer(1, MAX_TOKENS), 64)
    .option("-n, --max-tokens <n>", "tokens to generate", integer(2, MAX_TOKENS), 32)
    .option("--seed <n>", "chooses the prompt and the order", integer(0, 2 ** 31 - 1), 0)
    .addOption(
      new Option("--metric <id>", "the time that decides").choices(["e2e", "ttft", "tpot"])
        .default("e2e" as const),
    )
    .option("--budget <s>", "seconds after which it ends", decimal(0.1, 1e6), 60)
    .option("--margin <percent>", "what is as good as equal, as in 1%", percentage, 0.01)
    .option("--fail-if-slower <percent>", "exit with 7 if B is slower by more", percentage)
    .option("--json <file>", "both sides as JSON, for `tvllm compare`")
    .option("--csv <file>", "the comparison as CSV")
    .option("--output <file>", "the comparison as markdown");
  addGlobalOptions(command).action(async (given, options, command) => {
    const startup = startupTime(started.launch);
    const terminal = new Terminal(command.optsWithGlobals());
    const sides = splitSides(given).map((args) => ({
      name: args.join(" "),
      values: parseSide(args),
    }));
    const { json, csv, output, metric, margin, failIfSlower } = options;
    using files = openOutputFiles({ json, csv, output });
    using hashes = HashCache.open();
    using interrupts = new Interrupts();
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
    const models: Model[] = [];
    try {
      const racers: Racer[] = [];
      for (const { name, values } of sides) {
        const model = await openEngine(values, terminal, { maxSequences: 1 });
        models.push(model);
        const program = await describeProgram(model, {
          ...values,
          hashes,
          launch: started.launch,
          startup,
        });
        const target = new EngineTarget(model, program, interrupts.signal);
        racers.push(new Racer(name, target, run));
      }
      const [a, b] = racers as [Racer, Racer];
      using progress = terminal.progress("bench ab");
      const result = await race(() => a.run(), () => b.run(), {
        metric,
        margin,
        budget: 1000 * options.budget,
        warmUps: WARM_UPS,
        seed: run.seed,
        now: () => performance.now(),
        signal: interrupts.signal,
        progress: ({ rounds, ratio }) =>
          progress.update(0, `${rounds} rounds, B / A of ${metric} ${ratio.toFixed(3)}`),
      });
      progress[Symbol.dispose]();
      const id = crypto.randomUUID();
      const reports = [
        a.report(result.a, { id, side: "A" }),
        b.report(result.b, { id, side: "B" }),
      ];
      const comparison = compare(
        { name: `A (${a.name})`, reports: reports.slice(0, 1) },
        { name: `B (${b.name})`, reports: reports.slice(1) },
        { across: CONDITIONS },
      );
      const markdown = `${comparisonMarkdown([comparison])}\n${conclusion(result, options)}\n`;
      terminal.write(markdown);
      files.output?.write(markdown);
      files.csv?.write(comparisonCsv([comparison]));
      files.json?.write(`${JSON.stringify(reports, null, 2)}\n`);
      interrupts.signal.throwIfAborted();
      if (failIfSlower !== undefined) failIfAnySlower([comparison], failIfSlower);
    } finally {
      for (const model of models) await model.close();
    }
  });
}

/** One side, which serves the same request again and again, each time in an engine of its own. */
class Racer {
  readonly #promptIds: readonly number[];
  #ids: readonly number[] = [];

  constructor(
    readonly name: string,
    readonly target: EngineTarget,
    readonly options: RunOptions,
  ) {
    const { promptTokens, maxTokens, seed } = options;
    const { contextLength } = target.environment.model;
    if (promptTokens + maxTokens > contextLength) throw answerTooLong(options, contextLength);
    this.#promptIds = makePrompts(target.text, { count: 1, tokens: promptTokens, seed })[0]!;
  }

  async run(): Promise<Measured> {
    const { promptTokens, maxTokens } = this.options;
    const request = { promptIds: this.#promptIds, maxTokens };
    const { requests: [served] } = await this.target.withSession(
      {},
      (session) => session.serve([request]),
    );
    this.#ids = served!.ids;
    return measured(served!, promptTokens);
  }

  report(samples: Race["a"], interleaved: NonNullable<Report["interleaved"]>): Report {
    const { target: { environment }, options } = this;
    const recorder = new Recorder({
      suite: { name: "ab", charts: [] },
      environment,
      run: { ...options, repetitions: samples[E2E.id]!.length },
      limits: null,
    }, undefined);
    for (const metric of METRICS) recorder.at().measure(metric, samples[metric.id]!);
    return {
      ...recorder.report,
      complete: true,
      warnings: [], // a drift is of both sides
      outputHash: hashOf(this.#ids.join(",")),
      interleaved,
    };
  }
}

function measured(served: Served, promptTokens: number): Measured {
  return {
    [E2E.id]: endToEnd(served),
    [TTFT.id]: ttft(served),
    [TPOT.id]: tpot(served),
    [DECODE_THROUGHPUT.id]: decodeRate(served),
    [PREFILL_THROUGHPUT.id]: prefillRate(served, promptTokens),
  };
}

/** What it ended by, in a sentence. */
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
    equal: `A and B are equal within ${100 * margin} %`,
    interrupted: "no difference was shown before it was cut off",
    budget: `no difference was shown in ${budget} s; --budget gives more time`,
  };
  const spread = interval === undefined
    ? "no interval yet"
    : `[${interval.map((end) => end.toFixed(3)).join(", ")}]`;
  return `**By ${metric}, ${said[ending!]}** (${
    ratio.toFixed(3)
  } ${spread} after ${rounds} rounds of four runs). ` +
    "The interval leaves out the true ratio in at most 5 of 100 such measurements, although they end when they can tell.";
}

/** The arguments of both sides. */
function splitSides(args: readonly string[]): [string[], string[]] {
  const at = args.indexOf("--");
  if (at < 0) {
    throw new UsageError(
      "Cannot compare one side: give two, as in tvllm bench ab -- --threads 1 -- --threads 2",
    );
  }
  return [args.slice(0, at), args.slice(at + 1)];
}

function parseSide(
  args: readonly string[],
): DeviceValues & { readonly model?: string | undefined } {
  const command = addDeviceOptions(new Command("bench ab").addOption(modelOption()))
    .helpOption(false).allowExcessArguments(false).exitOverride().configureOutput({
      writeErr: () => {},
    });
  const values = command.parse([...args], { from: "user" }).opts();
  if (values.backend === undefined) return values;
  throw new UsageError(
    "Cannot interleave graphics APIs: a process has one; set DENO_WEBGPU_BACKEND, or use compare",
  );
}
