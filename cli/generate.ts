/** `tvllm generate [PROMPT]`: answers a prompt, or many, or writes on from them; without any, chats. */

import type { Command } from "@commander-js/extra-typings";
import { RequestError } from "../engine/errors.ts";
import type { GenerateOptions, Model } from "../engine/mod.ts";
import { checkPromptOptions } from "../engine/prompt.ts";
import type { AnswerSummary } from "../engine/run/answer.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import { describeAnswer, printAnswer, statistics, withText } from "./answers.ts";
import type { TextValues } from "./answer_text.ts";
import { chat } from "./chat.ts";
import { readChatTemplate } from "./chat_template_option.ts";
import { UsageError } from "./exit_codes.ts";
import { type ManyPrompt, printAnswers, readPrompts } from "./generate_many.ts";
import { Interrupts } from "./interrupt.ts";
import { openEngine } from "./open_engine.ts";
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
import { dataDirectory, SavedChats } from "./saved_chats.ts";
import { Terminal } from "./terminal.ts";
import { counted } from "./transfer.ts";

type GenerateValues = PromptValues & SamplingValues & TextValues & {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
  readonly logprobs?: number | undefined;
};

/** Adds the command to `program`. */
export function addGenerate(program: Command): void {
  const command = program.command("generate")
    .summary("answer or continue a prompt, or chat")
    .description(
      "Answers a prompt. Without a prompt, on a terminal, starts a chat. Models with a chat template " +
        "get the prompt as a message; other models continue it. Piped input and the text of --file " +
        "come before the prompt, each on lines of its own.",
    )
    .argument("[prompt]", "prompt; - reads standard input")
    .addOption(modelOption())
    .option(
      "--prompts <file>",
      "answer many prompts: a file with one per line, or with JSON objects that have a " +
        '"prompt" and keep their other fields; - reads standard input',
    )
    .option(
      "--concurrency <n>",
      "with --prompts: answers to generate at the same time",
      integer(1, 64),
      8,
    )
    .option("--json", "print the answer, its tokens and timings as one JSON object")
    .option("--jsonl", "print a JSON object per token (with --prompts: per answer) as it arrives")
    .option(
      "--logprobs <k>",
      "with --json or --jsonl: add the log-probability of each token and of the k most likely ones",
      integer(0, 100),
    )
    .option("--no-wrap", "on a terminal: do not wrap lines at words")
    .option("--no-thinking", "do not print what a reasoning model thinks before its answer");
  command.addHelpText(
    "after",
    "\nIn a chat, /help lists the commands. A chat exits with code 0 after Ctrl-D, 130\n" +
      "after Ctrl-C on an empty line, and 6 if the device fails.",
  );
  addGlobalOptions(addDeviceOptions(addSamplingOptions(addPromptOptions(command))))
    .action(async (argument, options, command) => {
      const terminal = new Terminal(command.optsWithGlobals());
      if (options.logprobs !== undefined && !options.json && !options.jsonl) {
        throw new UsageError("Cannot print log-probabilities as text: add --json or --jsonl");
      }
      if (options.json && options.jsonl) {
        throw new UsageError(
          "Cannot print one JSON object and a stream of them: drop --json or --jsonl",
        );
      }
      const many = options.prompts !== undefined;
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
        ? await readPrompts(options.prompts!, terminal)
        : await onePrompt(argument, options, terminal);
      if (prompts === undefined) {
        using saved = SavedChats.open(dataDirectory());
        await using model = await openEngine(options, terminal, { maxSequences: 1 });
        return await chat(model, values, { terminal, saved });
      }
      const model = await openEngine(options, terminal, {
        maxSequences: many ? options.concurrency : 1,
      });
      try {
        using interrupts = new Interrupts();
        const { signal } = interrupts;
        const job = { model, prompts, values, signal, terminal };
        await (many ? answerMany(job) : answerOne(job));
        signal.throwIfAborted();
      } finally {
        await model.close();
      }
    });
}

/** What is to be answered, and for whom. */
interface Job {
  readonly model: Model;
  readonly prompts: readonly ManyPrompt[];
  readonly values: GenerateValues;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

/** The prompt; undefined where a person is at hand to be asked for it. */
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

async function answerOne({ model, prompts, values, signal, terminal }: Job): Promise<void> {
  const { logprobs } = values;
  const options: GenerateOptions = {
    ...toGenerateOptions(values),
    signal,
    ...(logprobs !== undefined && { logprobs }),
  };
  const { json, jsonl, wrap, thinking } = values;
  const answer = model.generate(prompts[0]!.prompt, options);
  const summary = await printAnswer(answer, model, { json, jsonl, wrap, thinking, terminal });
  if (json || jsonl) {
    const report = describeAnswer(model, summary);
    const { text, ids: tokens } = summary;
    const logprobs = summary.logprobs?.map((own, i) => withText(own, tokens[i]!, model.tokenizer));
    const whole = json ? { ...report, text, tokens, ...(logprobs && { logprobs }) } : report;
    terminal.write(`${JSON.stringify(whole)}\n`);
  }
  if (summary.finish === "length") explainCut(model, summary, terminal);
  const line = statistics(model, summary);
  if (terminal.stdoutIsTerminal) terminal.note(line, "dim");
  else terminal.detail(line);
}

function explainCut(
  { contextLength, config, engine }: Model,
  { promptTokens, ids }: AnswerSummary,
  terminal: Terminal,
): void {
  // The last token never enters the cache.
  if (promptTokens + ids.length > engine.stats.blocks.budget * BLOCK_TOKENS) {
    terminal.warn(
      `the answer was cut off after ${
        counted(ids.length, "token")
      }: the KV cache could not grow; ` +
        "free device memory, or use --device cpu",
    );
    return;
  }
  if (promptTokens + ids.length < contextLength) {
    terminal.note(`Stopped after ${counted(ids.length, "token")}; raise -n for longer answers`);
    return;
  }
  const way = contextLength < config.contextLength
    ? `raise --ctx-size, at most ${config.contextLength}`
    : "that is the model's limit";
  terminal.warn(
    `the answer was cut off: the context of ${counted(contextLength, "token")} is full; ${way}`,
  );
}

async function answerMany({ model, prompts, values, signal, terminal }: Job): Promise<void> {
  const options = { ...toGenerateOptions(values), signal };
  const answers = prompts.map((prompt, i) => {
    try {
      return { ...prompt, answer: model.generate(prompt.prompt, options) };
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const which = `prompt ${i + 1} of ${prompts.length}`;
      throw new UsageError(`Cannot start ${which}: ${error.message}`, { cause: error });
    }
  });
  await printAnswers(model, answers, { ...values, terminal });
}
