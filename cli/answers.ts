/** One answer: the user's prompt to a request, its text to the terminal, and what is told of it. */

import type { Model } from "../engine/mod.ts";
import { type AnswerSummary, TextAnswer } from "../engine/run/generate.ts";
import type { TokenLogprobs } from "../engine/run/logprobs.ts";
import type { SamplingOptions } from "../engine/run/runner.ts";
import { encodeChat, PLAIN_TEMPLATE } from "../engine/text/chat_prompt.ts";
import { UsageError } from "./exit_codes.ts";
import type { PromptValues } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** Longest answer where -n does not say. */
const DEFAULT_TOKENS = 512;

/** What an answer is to follow. */
export interface PromptIds {
  readonly ids: readonly number[];
  /** The answer goes on with the prompt's own text. */
  readonly continues: boolean;
}

/** The chat template to use: that of the options, the model's, or the plain one for --raw. */
export function templateOf(model: Model, values: PromptValues): string {
  if (values.raw && values.system !== undefined) {
    throw new UsageError("Cannot use --system with --raw: there is no template to put it in");
  }
  return values.raw ? PLAIN_TEMPLATE : values.chatTemplate ?? model.chatTemplate;
}

function promptIds(model: Model, prompt: string, values: PromptValues): PromptIds {
  const { tokenizer } = model;
  const template = templateOf(model, values);
  const plain = template === PLAIN_TEMPLATE;
  if (plain && values.system === undefined) {
    const ids = tokenizer.encode(prompt);
    const { bosId } = tokenizer;
    // Without any token there is nothing to start from but the beginning of a text.
    if (bosId !== undefined && (tokenizer.addBos || ids.length === 0)) ids.unshift(bosId);
    if (ids.length === 0) {
      throw new UsageError(
        "Cannot write on from an empty prompt: the model has no token to begin with",
      );
    }
    return { ids, continues: true };
  }
  const messages = [
    ...(values.system === undefined ? [] : [{ role: "system", content: values.system }]),
    { role: "user", content: prompt },
  ];
  return { ids: encodeChat(tokenizer, template, messages), continues: plain };
}

/** What a request may have besides its prompt and the user's options. */
interface RequestOptions {
  readonly signal?: AbortSignal;
  readonly logprobs?: number;
}

/** Submits a prompt in the user's words. */
export function startAnswer(
  model: Model,
  prompt: string,
  values: PromptValues,
  sampling: SamplingOptions,
  request: RequestOptions,
): TextAnswer {
  const encoded = promptIds(model, prompt, values);
  const { length } = encoded.ids;
  if (length >= model.contextLength) {
    throw new UsageError(
      `Cannot answer a prompt of ${length} tokens: the context is ${model.contextLength}` +
        `; shorten it, or raise --ctx-size (the model's own limit is ${model.config.contextLength})`,
    );
  }
  return submitPrompt(model, encoded, values, sampling, request);
}

/** Submits a prompt in token ids. */
export function submitPrompt(
  model: Model,
  { ids, continues }: PromptIds,
  values: PromptValues,
  sampling: SamplingOptions,
  request: RequestOptions,
): TextAnswer {
  return new TextAnswer(model.engine, model.tokenizer, {
    promptIds: ids,
    sampling,
    maxTokens: values.maxTokens ?? DEFAULT_TOKENS,
    continues,
    ...(values.stop && { stops: values.stop }),
    ...request,
  });
}

interface Format {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Prints an answer as it comes; with --json nothing, as its object comes at the end. */
export async function printAnswer(
  answer: TextAnswer,
  format: Format,
  terminal: Terminal,
): Promise<{ text: string; logprobs: TokenLogprobs[] }> {
  let text = "";
  const logprobs: TokenLogprobs[] = [];
  let printed = -1;
  for await (const { token, text: piece } of answer) {
    text += piece;
    // Text that was held back comes with its last token once more.
    const fresh = token.index !== printed;
    printed = token.index;
    if (fresh && token.logprobs) logprobs.push(token.logprobs);
    if (format.jsonl) {
      const { id, index, logprobs } = token;
      const line = {
        ...(fresh && { id, index }),
        text: piece,
        ...(fresh && logprobs && { logprobs }),
      };
      terminal.write(`${JSON.stringify(line)}\n`);
    } else if (!format.json && piece !== "") terminal.writeUntrusted(piece);
  }
  if (!format.json && !format.jsonl && text !== "" && !text.endsWith("\n")) terminal.write("\n");
  return { text, logprobs };
}

/** An answer's JSON, less its text. */
export function describeAnswer(model: Model, summary: AnswerSummary, { seed }: SamplingOptions) {
  const { promptTokens, ids, finish, timeToFirst, total } = summary;
  return {
    model: model.config.name,
    device: model.runner.device.description,
    prompt_tokens: promptTokens,
    generated_tokens: ids.length,
    finish,
    seed,
    ttft_ms: timeToFirst,
    total_ms: total,
    decode_tokens_per_second: decodeRate(summary),
  };
}

/** Tokens per second after the first; null where there are none. */
export function decodeRate({ ids, timeToFirst, total }: AnswerSummary): number | null {
  return ids.length > 1 ? (ids.length - 1) / (total - timeToFirst) * 1000 : null;
}

/** An answer's figures on one line. */
export function statistics(model: Model, summary: AnswerSummary): string {
  const rate = decodeRate(summary);
  return [
    `${summary.ids.length} tokens after ${summary.promptTokens}`,
    `first after ${summary.timeToFirst.toFixed(0)} ms`,
    ...(rate === null ? [] : [`${rate.toFixed(1)} tok/s`]),
    model.runner.device.description,
  ].join(", ");
}
