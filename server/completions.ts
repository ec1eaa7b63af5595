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
export function completionPrompts(model: Model, body: CompletionBody): EncodedPrompt[] {
  return promptsOf(body).map((prompt) =>
    typeof prompt === "string"
      ? model.encodePrompt(prompt, { raw: true, special: true })
      : { ids: prompt, continues: true }
  );
}

function promptsOf({ prompt }: CompletionBody): (string | number[])[] {
  const isList = Array.isArray(prompt) && typeof prompt[0] !== "number";
  return (isList ? prompt : [prompt]) as (string | number[])[];
}

/** Returns a prompt as text: as it was sent, or its ids decoded without a BOS that texts get. */
function textOf({ tokenizer }: Model, prompt: string | readonly number[]): string {
  if (typeof prompt === "string") return prompt;
  const { addBos, bosId } = tokenizer;
  const ids = addBos && prompt[0] === bosId ? prompt.slice(1) : prompt;
  return tokenizer.decode(ids, { special: true });
}

/**
 * Returns the format of the answers.
 *
 * @throws {HttpError} if log-probabilities of the prompts are requested.
 */
export function completionFormat(model: Model, body: CompletionBody): ReplyFormat {
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
    choices: promptsOf(body).map((prompt) =>
      new CompletionWriter(model, echo ? textOf(model, prompt) : "", logprobs != null)
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
