/** Starts answers from the fields of requests, and reads them as events. */

import type { Model } from "../engine/mod.ts";
import type { EncodedPrompt } from "../engine/prompt.ts";
import { Answer } from "../engine/run/answer.ts";
import type { FinishReason } from "../engine/run/sequence.ts";
import type { Token } from "../engine/run/token_stream.ts";
import type { SharedFields } from "./requests.ts";

/** The options of an answer that completions and chat completions specify by different fields. */
export interface AnswerOptions {
  readonly maxTokens: number;
  readonly logprobs: number | undefined;
  readonly signal: AbortSignal;
}

/** Submits a prompt with the options in the fields. */
export function startAnswer(
  { engine, tokenizer }: Model,
  { ids, continues }: EncodedPrompt,
  { fields, maxTokens, logprobs, signal }: AnswerOptions & { readonly fields: SharedFields },
): Answer {
  const { stop, logit_bias: biases, top_k: topK, seed } = fields;
  const { min_tokens: minTokens, presence_penalty: presencePenalty } = fields;
  const { frequency_penalty: frequencyPenalty } = fields;
  return new Answer(engine, tokenizer, {
    promptIds: ids,
    continues,
    maxTokens,
    sampling: {
      ...given("temperature", fields.temperature),
      ...given("topP", fields.top_p),
      ...given("topK", topK === -1 ? 0 : topK),
      ...given("minP", fields.min_p),
      ...given("repeatPenalty", fields.repetition_penalty),
      // OpenAI's seeds have 64 bits; the engine uses the lower 32.
      ...given("seed", seed == null ? seed : Number(BigInt.asUintN(32, BigInt(seed)))),
      ...(biases && {
        logitBias: new Map(Object.entries(biases).map(([id, bias]) => [Number(id), bias])),
      }),
    },
    stops: typeof stop === "string" ? [stop] : stop ?? [],
    ...(fields.ignore_eos && { stopIds: [] }),
    ...given("minTokens", minTokens),
    ...given("presencePenalty", presencePenalty),
    ...given("frequencyPenalty", frequencyPenalty),
    ...given("logprobs", logprobs),
    signal,
  });
}

/** Returns an object with this property; an empty one if the value is null or undefined. */
function given<Name extends string, T>(
  name: Name,
  value: T | null | undefined,
): { readonly [name in Name]?: T } {
  return value == null ? {} : { [name]: value } as { readonly [name in Name]?: T };
}

/** A token and its text. Only the last event of an answer has `finish`. */
export interface AnswerEvent {
  readonly token: Token | undefined;
  readonly text: string;
  readonly finish?: FinishReason;
}

/** Yields one event per token. Text that was held back until the end is added to the last event. */
export async function* answerEvents(answer: Answer): AsyncGenerator<AnswerEvent> {
  const pieces = answer[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value: piece } = await pieces.next();
      if (done) {
        // The answer was cancelled between two tokens.
        yield { token: undefined, text: "", finish: answer.summary!.finish };
        return;
      }
      const { token, text, finish } = piece;
      if (finish === undefined) {
        yield { token, text };
        continue;
      }
      const rest = await pieces.next();
      yield { token, text: text + (rest.done ? "" : rest.value.text), finish };
      return;
    }
  } finally {
    await pieces.return(undefined);
  }
}

/** Yields the events of several answers as they arrive, each with the index of its answer. */
export async function* mergedEvents(
  answers: readonly Answer[],
): AsyncGenerator<readonly [index: number, event: AnswerEvent]> {
  const sources = answers.map(answerEvents);
  const next = async (index: number) => ({ index, result: await sources[index]!.next() });
  const pending = new Map(sources.map((_, index) => [index, next(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(index);
        continue;
      }
      pending.set(index, next(index));
      yield [index, result.value];
    }
  } finally {
    for (const answer of answers) answer.cancel();
    await Promise.allSettled(pending.values());
  }
}
