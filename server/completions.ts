/** `POST /v1/completions`: continues texts or token ids. */

import type { Model } from "../engine/mod.ts";
import type { EncodedPrompt } from "../engine/prompt.ts";
import type { TokenLogprobs } from "../engine/run/logprobs.ts";
import type { AnswerEvent } from "./generation.ts";
import { HttpError } from "./errors.ts";
import type { ChoiceWriter, ReplyFormat } from "./reply.ts";
import type { CompletionBody } from "./requests.ts";

/** Default of `max_tokens`, as at OpenAI and vLLM. */
export const DEFAULT_COMPLETION_TOKENS = 16;

/**
 * Returns the token ids of each prompt. Texts get BOS at the start, and control tokens that are
 * spelled out in them are parsed, because clients apply chat templates themselves.
 */
export function completionPrompts(model: Model, { prompt }: CompletionBody): EncodedPrompt[] {
  const prompts = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt : [prompt];
  return (prompts as (string | number[])[]).map((one) =>
    typeof one === "string"
      ? model.encodePrompt(one, { raw: true, special: true })
      : { ids: one, continues: true }
  );
}

/**
 * Returns the format of the answers.
 *
 * @throws {HttpError} if log-probabilities of the prompts are requested.
 */
export function completionFormat(
  model: Model,
  body: CompletionBody,
  prompts: readonly EncodedPrompt[],
): ReplyFormat {
  const { echo, logprobs } = body;
  if (echo && logprobs != null) {
    throw new HttpError(
      400,
      "Cannot use 'echo' with 'logprobs': only generated tokens have log-probabilities",
      {
        code: "unsupported_parameter",
        param: "echo",
      },
    );
  }
  return {
    object: "text_completion",
    chunkObject: "text_completion",
    idPrefix: "cmpl-",
    choices: prompts.map(({ ids }) =>
      new CompletionWriter(model, echo ? model.tokenizer.decode(ids) : "", logprobs != null)
    ),
  };
}

class CompletionWriter implements ChoiceWriter {
  /** Number of characters of the answer so far. */
  #offset = 0;

  constructor(
    readonly model: Model,
    /** Text before the answer; "" once it was written. */
    private echo: string,
    readonly logprobs: boolean,
  ) {}

  chunk(event: AnswerEvent): Record<string, unknown> {
    return this.whole([event]);
  }

  whole(events: readonly AnswerEvent[]): Record<string, unknown> {
    const text = this.echo + events.map(({ text }) => text).join("");
    this.echo = "";
    return { text, logprobs: this.logprobs ? this.#logprobs(events) : null };
  }

  #logprobs(events: readonly AnswerEvent[]) {
    const { tokenizer } = this.model;
    const spell = (id: number) => tokenizer.decode([id], { special: true, continues: true });
    const tokens: string[] = [];
    const token_logprobs: number[] = [];
    const top_logprobs: Record<string, number>[] = [];
    const text_offset: number[] = [];
    for (const { token, text } of events) {
      if (token?.logprobs === undefined) continue;
      const { logprob, top }: TokenLogprobs = token.logprobs;
      tokens.push(spell(token.id));
      token_logprobs.push(logprob);
      top_logprobs.push(Object.fromEntries(top.map(({ id, logprob }) => [spell(id), logprob])));
      text_offset.push(this.#offset);
      this.#offset += text.length;
    }
    return { tokens, token_logprobs, top_logprobs, text_offset };
  }
}
