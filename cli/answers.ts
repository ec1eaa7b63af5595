/** One answer: its text to the terminal, and what is told of it. */

import type { Model } from "../engine/mod.ts";
import type { Answer, AnswerSummary } from "../engine/run/answer.ts";
import { PromptProgress, TokenProgress } from "./answer_progress.ts";
import type { Terminal } from "./terminal.ts";

interface Format {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Prints an answer as it comes; with --json nothing, as its object comes at the end. */
export async function printAnswer(
  answer: Answer,
  format: Format,
  terminal: Terminal,
): Promise<AnswerSummary> {
  using shown = new DisposableStack();
  const reading = shown.use(new PromptProgress(answer, terminal));
  let answering: TokenProgress | undefined;
  for await (const { token, text } of answer) {
    reading[Symbol.dispose]();
    if (format.json) {
      answering ??= shown.use(new TokenProgress(terminal));
      answering.update((token?.index ?? 0) + 1);
    }
    if (format.jsonl) {
      const { id, index, logprobs } = token ?? {};
      const line = { ...(token && { id, index }), text, ...(logprobs && { logprobs }) };
      terminal.write(`${JSON.stringify(line)}\n`);
    } else if (!format.json && text !== "") terminal.write(text);
  }
  const summary = answer.summary!;
  const { text } = summary;
  if (!format.json && !format.jsonl && text !== "" && !text.endsWith("\n")) terminal.write("\n");
  return summary;
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
export function decodeRate({ timePerToken }: AnswerSummary): number | null {
  return timePerToken === null ? null : 1000 / timePerToken;
}

/** An answer's figures on one line. */
export function statistics(model: Model, summary: AnswerSummary): string {
  const rate = decodeRate(summary);
  return [
    `${summary.ids.length} tokens after ${summary.promptTokens}`,
    `first after ${summary.timeToFirst.toFixed(0)} ms`,
    ...(rate === null ? [] : [`${rate.toFixed(1)} tok/s`]),
    model.device.description,
  ].join(", ");
}
