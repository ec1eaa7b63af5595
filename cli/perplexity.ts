/** `tvllm perplexity -f FILE`: measures how well a model predicts a text. */

import type { Command } from "@commander-js/extra-typings";
import type { Model } from "../engine/mod.ts";
import type { ScoreOptions } from "../engine/run/perplexity.ts";
import { UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { MeteredProgress } from "./metered_progress.ts";
import { openEngine } from "./open_engine.ts";
import { addDeviceOptions, addGlobalOptions, integer, modelOption } from "./options.ts";
import { readStdin, readTextFile } from "./prompt_input.ts";
import { Terminal } from "./terminal.ts";
import { counted } from "./transfer.ts";

/** Adds the command to `program`. */
export function addPerplexity(program: Command): void {
  const command = program.command("perplexity")
    .summary("measure how well a model predicts a text")
    .description(
      "Measures how well a model predicts a text (its perplexity). If the text exceeds the context or --kv-memory, splits it into windows and measures each window.",
    )
    .addOption(modelOption())
    .option("-f, --file <path>", "file with the text (default: standard input)")
    .option(
      "--top-logprobs <k>",
      "with --json: list the k most likely tokens at each position",
      integer(0, 1000),
    )
    .option(
      "--llama",
      "score as llama.cpp's llama-perplexity does: only the second half of each window",
    )
    .option(
      "--window <tokens>",
      "with --llama: tokens per window (default: 512)",
      integer(4, 2 ** 24),
    )
    .option("--json", "print the result of each position, as one JSON object");
  addGlobalOptions(addDeviceOptions(command)).action(async (options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    if (options.window !== undefined && !options.llama) {
      throw new UsageError("Cannot use --window without --llama: add --llama");
    }
    if (options.topLogprobs !== undefined && options.llama) {
      throw new UsageError(
        "Cannot use --top-logprobs with --llama, which gives one number: leave one out",
      );
    }
    if (options.topLogprobs !== undefined && !options.json) {
      throw new UsageError("Cannot print log-probabilities as text: add --json");
    }
    const text = await readText(options.file, terminal);
    const model = await openEngine(options, terminal);
    try {
      if (options.llama) return await writeHalves({ ...options, model, text, terminal });
      const { ids, perplexity, error, positions, window } = await scoring(
        terminal,
        (events) => model.perplexity(text, { top: options.topLogprobs ?? 0, ...events }),
      );
      if (window < Math.min(ids.length, model.contextLength)) {
        terminal.note(
          `The KV cache has room for ${
            counted(window, "token")
          }: the text is scored in windows of that length`,
        );
      }
      terminal.write(
        options.json
          ? `${
            JSON.stringify({
              model: model.config.name,
              tokens: ids,
              perplexity,
              error,
              positions: positions.map(({ nextLogprob, top }) => ({
                next_logprob: nextLogprob,
                top,
              })),
              device: model.device.description,
            })
          }\n`
          : `${perplexityText(perplexity, error)} over ${
            counted(ids.length - 1, "token")
          }, each given ${
            window < ids.length
              ? `those before it in its window of ${counted(window, "token")}`
              : "all before it"
          }\n`,
      );
    } finally {
      await model.close();
    }
  });
}

/** `--llama`: scores the text as llama-perplexity does, and prints the result. */
async function writeHalves({ model, text, window, json, terminal }: {
  readonly model: Model;
  readonly text: string;
  readonly window?: number | undefined;
  readonly json?: true | undefined;
  readonly terminal: Terminal;
}): Promise<void> {
  const score = await scoring(
    terminal,
    (events) =>
      model.halvesPerplexity(text, { ...(window !== undefined && { window }), ...events }),
  );
  const { perplexity, error, tokens, windows } = score;
  terminal.write(
    json
      ? `${
        JSON.stringify({
          model: model.config.name,
          method: "llama-perplexity",
          ...score,
          device: model.device.description,
        })
      }\n`
      : `${perplexityText(perplexity, error)} over ${counted(tokens, "token")}, ` +
        `as llama-perplexity: second halves of ${counted(windows, "window")} of ${score.window}\n`,
  );
}

/** Formats a perplexity with its standard error, if there is one. */
function perplexityText(value: number, error: number | undefined): string {
  const spread = error === undefined ? "" : ` ± ${error.toFixed(4)}`;
  return `perplexity ${value.toFixed(4)}${spread}`;
}

/** Calls `score` and shows its progress. Ctrl-C ends it. */
async function scoring<T>(
  terminal: Terminal,
  score: (events: Required<Pick<ScoreOptions, "signal" | "progress">>) => Promise<T>,
): Promise<T> {
  using interrupts = new Interrupts();
  using waiting = terminal.progress("Scoring");
  let shown: MeteredProgress | undefined;
  return await score({
    signal: interrupts.signal,
    progress: (tokens, total) => {
      waiting[Symbol.dispose]();
      shown ??= new MeteredProgress({ label: "Scoring", total, unit: "token" }, terminal);
      shown.update(tokens);
    },
  }).finally(() => shown?.[Symbol.dispose]());
}

async function readText(file: string | undefined, terminal: Terminal): Promise<string> {
  if (file !== undefined && file !== "-") return await readTextFile(file);
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("Cannot measure perplexity: no text given; use -f FILE or pipe a text in");
  }
  return await readStdin(terminal);
}
