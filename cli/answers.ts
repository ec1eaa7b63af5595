/** Prints one answer, and describes it as JSON and as a line of statistics. */

import { PromptProgress, TokenProgress } from "./answer_progress.ts";
import { AnswerText, type TextValues } from "./answer_text.ts";
import type { Reply, ReplySummary, Responder } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { counted, milliseconds, tokenRate } from "./transfer.ts";

/** Options for printing an answer. */
export interface AnswerFormat extends TextValues {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/**
 * Prints an answer as it arrives. Prints nothing with --json: the caller prints its object at the
 * end.
 */
export async function printAnswer(
  reply: Reply,
  { terminal, ...format }: AnswerFormat & { readonly terminal: Terminal },
): Promise<ReplySummary> {
  using shown = new DisposableStack();
  const reading = shown.use(new PromptProgress(reply, terminal));
  let waiting: TokenProgress | undefined;
  const isText = !format.json && !format.jsonl;
  const text = await AnswerText.begin(terminal, format, reply.thinks);
  let tokens = 0;
  try {
    for await (const { token, text: piece } of reply) {
      reading[Symbol.dispose]();
      tokens++;
      if (format.jsonl) {
        terminal.write(`${JSON.stringify({ ...token, text: piece })}\n`);
      } else if (isText && text.write(piece)) {
        waiting?.[Symbol.dispose]();
        waiting = undefined;
        continue;
      }
      if (format.jsonl || text.begun) continue;
      waiting ??= shown.use(new TokenProgress(terminal, isText ? "Thinking" : "Answering"));
      waiting.update(tokens);
    }
  } finally {
    // Also if the answer fails: an error must begin on a line of its own.
    if (isText) text.end();
  }
  return reply.summary!;
}

/** Returns the fields of an answer's JSON object, without its text. */
export function describeAnswer({ model, source }: Responder, summary: ReplySummary) {
  const { promptTokens, tokens, finish, error, seed, timeToFirst, timePerToken, total } = summary;
  return {
    model,
    ...source,
    prompt_tokens: promptTokens,
    generated_tokens: tokens,
    ...(summary.counted && { counted_by: summary.counted }),
    finish,
    ...(error !== undefined && { error }),
    seed,
    ttft_ms: timeToFirst,
    tpot_ms: timePerToken,
    total_ms: total,
    decode_tokens_per_second: decodeRate(summary),
  };
}

/** Decode throughput in tokens per second, without the first token; null if it is unknown. */
function decodeRate({ timePerToken }: ReplySummary): number | null {
  return timePerToken === null ? null : 1000 / timePerToken;
}

/** Returns the figures of an answer on one line. */
export function statistics({ place }: Responder, summary: ReplySummary): string {
  const { promptTokens, tokens, finish } = summary;
  const prompt = promptTokens === null
    ? "a prompt of unknown length"
    : `a prompt of ${counted(promptTokens, "token")}`;
  const said = tokens === 0 && finish === "cancelled"
    ? `Stopped while reading ${prompt}`
    : `Read ${prompt} in ${milliseconds(summary.timeToFirst)}, wrote ${speed(summary)}`;
  return `${said}, on ${place}`;
}

/** Formats an answer's length and speed, as in `30 tokens in 1.2 s (25.0 tok/s)`. */
export function speed(summary: ReplySummary): string {
  const { tokens, timeToFirst, total } = summary;
  const rate = decodeRate(summary);
  const written = counted(tokens, "token");
  return rate === null
    ? written
    : `${written} in ${milliseconds(total - timeToFirst)} (${tokenRate(rate)})`;
}
