/** `tvllm perplexity -f FILE`: how well a model predicts a text. */

import type { Command } from "@commander-js/extra-typings";
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
    .summary("how well a model predicts a text")
    .description(
      "Measures how well a model predicts a text, token by token. Logarithms are natural; a text " +
        "longer than the context, or than --kv-memory has room for, is scored in windows.",
    )
    .addOption(modelOption())
    .option("-f, --file <path>", "the text; by default standard input")
    .option(
      "--top-logprobs <k>",
      "with --json: the k best tokens of each position",
      integer(0, 1000),
    )
    .option("--json", "everything, position by position, as one JSON object");
  addGlobalOptions(addDeviceOptions(command)).action(async (options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const text = await readText(options.file, terminal);
    const model = await openEngine(options, terminal);
    try {
      using interrupts = new Interrupts();
      using waiting = terminal.progress("Scoring");
      let shown: MeteredProgress | undefined;
      const { ids, perplexity, error, positions, window } = await model.perplexity(text, {
        top: options.topLogprobs ?? 0,
        signal: interrupts.signal,
        progress: (tokens, total) => {
          waiting[Symbol.dispose]();
          shown ??= new MeteredProgress({ label: "Scoring", total, unit: "token" }, terminal);
          shown.update(tokens);
        },
      }).finally(() => shown?.[Symbol.dispose]());
      if (window < Math.min(ids.length, model.contextLength)) {
        terminal.note(
          `The KV cache has room for ${counted(window, "token")}: scored in windows of so many`,
        );
      }
      terminal.write(
        options.json
          ? `${
            JSON.stringify({
              model: model.config.name,
              tokens: ids,
              perplexity,
              positions: positions.map(({ nextLogprob, top }) => ({
                next_logprob: nextLogprob,
                top,
              })),
              device: model.device.description,
            })
          }\n`
          : `perplexity ${perplexity.toFixed(4)} ± ${error.toFixed(4)} over ${
            counted(ids.length - 1, "token")
          }\n`,
      );
    } finally {
      await model.close();
    }
  });
}

async function readText(file: string | undefined, terminal: Terminal): Promise<string> {
  if (file !== undefined && file !== "-") return await readTextFile(file);
  if (Deno.stdin.isTerminal()) {
    throw new UsageError("Cannot measure nothing: give a text with -f FILE, or by a pipe");
  }
  return await readStdin(terminal);
}
