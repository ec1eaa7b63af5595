/** `tvllm generate [PROMPT]`: answers or continues one prompt or many; without a prompt, chats. */

import type { Command } from "@commander-js/extra-typings";
import { RequestError } from "../engine/errors.ts";
import type { GenerateOptions } from "../engine/mod.ts";
import { checkPromptOptions } from "../engine/prompt.ts";
import { describeAnswer, printAnswer, statistics } from "./answers.ts";
import type { TextValues } from "./answer_text.ts";
import { readChatTemplate } from "./chat_template_option.ts";
import { addEndpointOptions } from "./endpoint_options.ts";
import { UsageError } from "./exit_codes.ts";
import { type ManyPrompt, printAnswers, readPrompts } from "./generate_many.ts";
import { Interrupts } from "./interrupt.ts";
import { openResponder, refuseLocalOptions, usable } from "./open_responder.ts";
import {
  addDeviceOptions,
  addGlobalOptions,
  addPromptOptions,
  addSamplingOptions,
  integer,
  modelOption,
  type PromptValues,
  type SamplingValues,
  toGenerateOptions,
} from "./options.ts";
import { composePrompt } from "./prompt_input.ts";
import type { ReplySummary, Responder } from "./responder.ts";
import { Terminal } from "./terminal.ts";
import { withoutThoughts } from "./thinking.ts";
import { counted } from "./transfer.ts";

type GenerateValues = PromptValues & SamplingValues & TextValues & {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
  readonly logprobs?: number | undefined;
};

/** Adds the command to `program`. */
export function addGenerate(program: Command): void {
  const bare = program.command("generate")
    .summary("answer or continue a prompt, or chat")
    .description(
      "Answers a prompt. If the model is not a chat model, continues the prompt. Without a prompt, starts a chat if it runs on a terminal. Puts the text of --file and piped input before the prompt, on separate lines.",
    )
    .argument("[prompt]", "prompt; - reads standard input")
    .addOption(modelOption());
  const command = addEndpointOptions(bare, "ask")
    .option(
      "--prompts <file>",
      "answer many prompts from a file: each line is a prompt, or a JSON object with a " +
        '"prompt" and other fields; - reads standard input',
    )
    .option(
      "--concurrency <n>",
      "with --prompts: answers to generate at the same time",
      integer(1, 64),
      8,
    )
    .option("--json", "print the answer, its tokens and timings as one JSON object")
    .option("--jsonl", "print a JSON object for each token, or with --prompts for each answer")
    .option(
      "--logprobs <k>",
      "with --json or --jsonl: add the log-probability of each token, and those of the k most likely tokens at its position",
      integer(0, 100),
    )
    .option("--no-wrap", "on a terminal: do not wrap lines at words")
    .option("--no-thinking", "do not print the thoughts of a reasoning model");
  command.addHelpText(
    "after",
    "\nIn a chat, /help lists the commands, and Ctrl-D ends the chat.",
  );
  addGlobalOptions(addDeviceOptions(addSamplingOptions(addPromptOptions(command))))
    .action(async (argument, options, command) => {
      const terminal = new Terminal(command.optsWithGlobals());
      refuseLocalOptions(command);
      if (options.logprobs !== undefined && !options.json && !options.jsonl) {
        throw new UsageError("Cannot print log-probabilities as text: add --json or --jsonl");
      }
      if (options.json && options.jsonl) {
        throw new UsageError(
          "Cannot print one JSON object and a stream of them: drop --json or --jsonl",
        );
      }
      const many = options.prompts !== undefined;
      if (options.jsonl && !many && !options.thinking) {
        throw new UsageError(
          "Cannot use --no-thinking with --jsonl, which prints each token: use --json",
        );
      }
      if (!many && command.getOptionValueSource("concurrency") === "cli") {
        throw new UsageError(
          "Cannot use --concurrency without --prompts: one prompt has one answer",
        );
      }
      if (many && (argument ?? options.prompt ?? options.file ?? options.logprobs) !== undefined) {
        throw new UsageError(
          "Cannot use --prompts with another prompt, --file or --logprobs: leave one out",
        );
      }
      const chatTemplate = await readChatTemplate(options);
      const values = { ...options, ...(chatTemplate !== undefined && { chatTemplate }) };
      checkPromptOptions(toGenerateOptions(values));
      const prompts = many
        ? await readPrompts({ path: options.prompts!, escape: options.escape ?? false }, terminal)
        : await onePrompt(argument, options, terminal);
      const concurrency = many ? options.concurrency : 1;
      const open = () => openResponder({ values: options, concurrency }, terminal);
      if (prompts === undefined) {
        const { chat } = await import("./chat.ts");
        const { dataDirectory, SavedChats } = await import("./saved_chats.ts");
        using saved = SavedChats.open(dataDirectory());
        await using responder = await open();
        return await chat(responder, values, { terminal, saved });
      }
      await using responder = await open();
      using interrupts = new Interrupts();
      const { signal } = interrupts;
      const job = { responder, prompts, values, signal, terminal };
      await usable(many ? answerMany(job) : answerOne(job));
      signal.throwIfAborted();
    });
}

/** The prompts to answer, and where the answers go. */
interface Job {
  readonly responder: Responder;
  readonly prompts: readonly ManyPrompt[];
  readonly values: GenerateValues;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

/**
 * Returns the prompt; undefined if there is none and a chat can start on the terminal.
 *
 * @throws {UsageError} if there is no prompt and no terminal for a chat.
 */
async function onePrompt(
  argument: string | undefined,
  values: GenerateValues,
  terminal: Terminal,
): Promise<[ManyPrompt] | undefined> {
  const prompt = await composePrompt({ argument, ...values }, terminal);
  if (prompt !== undefined) return [{ prompt, fields: {} }];
  const forPrograms = values.json || values.jsonl;
  if (Deno.stdin.isTerminal() && terminal.stdoutIsTerminal && !forPrograms) return undefined;
  throw new UsageError(
    'Cannot generate without a prompt: give one, as in tvllm generate "Once upon a time"; ' +
      "to chat, run tvllm generate on a terminal",
  );
}

async function answerOne({ responder, prompts, values, signal, terminal }: Job): Promise<void> {
  const { logprobs } = values;
  const options: GenerateOptions = {
    ...toGenerateOptions(values),
    signal,
    ...(logprobs !== undefined && { logprobs }),
  };
  const { json, jsonl, wrap, thinking } = values;
  const reply = responder.generate(prompts[0]!.prompt, options);
  const writeObject = (summary: ReplySummary) => {
    const report = describeAnswer(responder, summary);
    const text = thinking === false ? withoutThoughts(summary.text, reply.thinks) : summary.text;
    const whole = json ? { ...report, text, ...summary.details } : report;
    terminal.write(`${JSON.stringify(whole)}\n`);
  };
  let summary: ReplySummary;
  try {
    summary = await printAnswer(reply, { json, jsonl, wrap, thinking, terminal });
  } catch (error) {
    // The text before a failure is printed in every form.
    const { summary: partial } = reply;
    if ((json || jsonl) && partial !== undefined && partial.text !== "") writeObject(partial);
    throw error;
  }
  if (json || jsonl) writeObject(summary);
  if (summary.finish === "length") explainCut(responder, summary, terminal);
  const line = statistics(responder, summary);
  if (terminal.stdoutIsTerminal) terminal.note(line, "dim");
  else terminal.detail(line);
}

function explainCut(responder: Responder, summary: ReplySummary, terminal: Terminal): void {
  const tokens = counted(summary.tokens, "token");
  const why = responder.whyCut(summary);
  if (why === undefined) {
    terminal.note(`Stopped after ${tokens}; raise -n for longer answers`);
  } else {
    terminal.warn(`the answer was cut off: ${why}`);
  }
}

async function answerMany({ responder, prompts, values, signal, terminal }: Job): Promise<void> {
  const options = { ...toGenerateOptions(values), signal };
  const answers = prompts.map((prompt, i) => {
    try {
      return { ...prompt, reply: responder.generate(prompt.prompt, options) };
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const which = `prompt ${i + 1} of ${prompts.length}`;
      throw new UsageError(`Cannot start ${which}: ${error.message}`, { cause: error });
    }
  });
  await printAnswers(responder, answers, { ...values, terminal });
}
