/** One answer: its text to the terminal, and what is told of it. */

import type { Model } from "../engine/mod.ts";
import type { Answer, AnswerSummary } from "../engine/run/answer.ts";
import type { TokenLogprobs } from "../engine/run/logprobs.ts";
import type { Token } from "../engine/run/token_stream.ts";
import type { Tokenizer } from "../engine/text/tokenizer.ts";
import { PromptProgress, TokenProgress } from "./answer_progress.ts";
import { AnswerText, type TextValues } from "./answer_text.ts";
import type { Terminal } from "./terminal.ts";
import { endsInThoughts } from "./thinking.ts";
import { counted, milliseconds, tokenRate } from "./transfer.ts";

/** How an answer is printed. */
export interface AnswerFormat extends TextValues {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Prints an answer as it comes; with --json nothing, as its object comes at the end. */
export async function printAnswer(
  answer: Answer,
  { tokenizer }: Pick<Model, "tokenizer">,
  { terminal, ...format }: AnswerFormat & { readonly terminal: Terminal },
): Promise<AnswerSummary> {
  using shown = new DisposableStack();
  const reading = shown.use(new PromptProgress(answer, terminal));
  let waiting: TokenProgress | undefined;
  const isText = !format.json && !format.jsonl;
  const text = new AnswerText(terminal, format, thinks(answer, tokenizer));
  for await (const { token, text: piece } of answer) {
    reading[Symbol.dispose]();
    if (format.jsonl) {
      const line = { ...(token && describeToken(token, tokenizer)), text: piece };
      terminal.write(`${JSON.stringify(line)}\n`);
    } else if (isText && text.write(piece)) {
      waiting?.[Symbol.dispose]();
      waiting = undefined;
      continue;
    }
    if (format.jsonl || text.begun) continue;
    waiting ??= shown.use(new TokenProgress(terminal, isText ? "Thinking" : "Answering"));
    waiting.update((token?.index ?? 0) + 1);
  }
  if (isText) text.end();
  return answer.summary!;
}

/** Whether the template has begun the model's thoughts. */
function thinks({ promptIds }: Answer, tokenizer: Tokenizer): boolean {
  return endsInThoughts(tokenizer.decode(promptIds.slice(-8)));
}

function describeToken({ id, index, logprobs }: Token, tokenizer: Tokenizer) {
  return { id, index, ...(logprobs && { logprobs: withText(logprobs, id, tokenizer) }) };
}

/** Log-probabilities with the text of each token, which ids alone do not tell. */
export function withText({ logprob, top }: TokenLogprobs, id: number, tokenizer: Tokenizer) {
  const token = (id: number) => tokenizer.piece(id);
  return {
    id,
    token: token(id),
    logprob,
    top: top.map(({ id, logprob }) => ({ id, token: token(id), logprob })),
  };
}

/** An answer's JSON, less its text. */
export function describeAnswer(model: Model, summary: AnswerSummary) {
  const { promptTokens, ids, finish, seed, timeToFirst, timePerToken, total } = summary;
  return {
    model: model.config.name,
    device: model.device.description,
    prompt_tokens: promptTokens,
    generated_tokens: ids.length,
    finish,
    seed,
    ttft_ms: timeToFirst,
    tpot_ms: timePerToken,
    total_ms: total,
    decode_tokens_per_second: decodeRate(summary),
  };
}

/** Decode throughput: tokens per second after the first; null where there are none. */
function decodeRate({ timePerToken }: AnswerSummary): number | null {
  return timePerToken === null ? null : 1000 / timePerToken;
}

/** An answer's figures on one line. */
export function statistics(model: Model, summary: AnswerSummary): string {
  const { promptTokens, ids, finish } = summary;
  const prompt = `a prompt of ${counted(promptTokens, "token")}`;
  const said = ids.length === 0 && finish === "cancelled"
    ? `Stopped while reading ${prompt}`
    : `Read ${prompt} in ${milliseconds(summary.timeToFirst)}, wrote ${speed(summary)}`;
  return `${said}, on ${model.device.description}`;
}

/** `30 tokens in 1.2 s (25.0 tok/s)`. */
export function speed(summary: AnswerSummary): string {
  const { ids, timeToFirst, total } = summary;
  const rate = decodeRate(summary);
  const written = counted(ids.length, "token");
  return rate === null
    ? written
    : `${written} in ${milliseconds(total - timeToFirst)} (${tokenRate(rate)})`;
}
