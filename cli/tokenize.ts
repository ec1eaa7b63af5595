/** `tvllm tokenize [TEXT|-]`: prints a model's token ids for a text. */

import type { Command } from "@commander-js/extra-typings";
import { encodeText } from "../engine/prompt.ts";
import { modelTokenizer } from "../engine/text/model_tokenizer.ts";
import type { Tokenizer } from "../engine/text/tokenizer.ts";
import { UsageError } from "./exit_codes.ts";
import { openModel } from "./model_argument.ts";
import { addGlobalOptions, modelOption } from "./options.ts";
import { readStdin } from "./prompt_input.ts";
import { Terminal } from "./terminal.ts";

/** Adds the command to `program`. */
export function addTokenize(program: Command): void {
  const command = program.command("tokenize")
    .summary("split a text into tokens")
    .description(
      "Splits a text into a model's tokens. Prints one token per line: its id and its text. Adds no BOS token.",
    )
    .argument("[text]", "text; with -, or without this argument, reads standard input")
    .addOption(modelOption())
    .option("--json", "print the ids as a JSON array")
    .option(
      "--special",
      "read the spelling of a control token, such as <|im_end|>, as that token",
    );
  addGlobalOptions(command).action(async (argument, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    if (argument === undefined && Deno.stdin.isTerminal()) {
      throw new UsageError(
        'Cannot tokenize: no text given; give one, as in tvllm tokenize "Hello"',
      );
    }
    const tokenizer = await openTokenizer(options.model, terminal);
    for (const warning of tokenizer.warnings) terminal.warn(warning);
    const text = argument === undefined || argument === "-" ? await readStdin(terminal) : argument;
    const ids = encodeText(tokenizer, text, { special: options.special === true });
    terminal.write(
      options.json
        ? `${JSON.stringify(ids)}\n`
        : ids.map((id) => `${id}\t${tokenizer.piece(id)}\n`).join(""),
    );
  });
}

async function openTokenizer(spec: string | undefined, terminal: Terminal): Promise<Tokenizer> {
  const model = await openModel(spec, terminal, { anyType: true });
  try {
    return modelTokenizer(model);
  } finally {
    model.close();
  }
}
