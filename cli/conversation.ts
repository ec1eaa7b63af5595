/** A chat as data: its messages, and the request of its next turn. */

import type { Model } from "../engine/mod.ts";
import type { TextAnswer } from "../engine/run/generate.ts";
import type { SamplingOptions } from "../engine/run/runner.ts";
import { encodeChat, PLAIN_TEMPLATE } from "../engine/text/chat_prompt.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";
import { submitPrompt, templateOf } from "./answers.ts";
import { UsageError } from "./exit_codes.ts";
import type { PromptValues } from "./options.ts";

/**
 * The messages so far. Every turn is the whole conversation anew, so that the template sees it all;
 * the engine's prefix cache computes only what the turn before has not.
 */
export class Conversation {
  readonly #template: string;
  #messages: readonly ChatMessage[] = [];
  #asked: readonly ChatMessage[] = [];

  constructor(
    readonly model: Model,
    readonly values: PromptValues,
    public system: string | undefined = values.system,
  ) {
    this.#template = templateOf(model, values);
  }

  /** The model has no chat template: its answers go on with what was written. */
  get continues(): boolean {
    return this.#template === PLAIN_TEMPLATE;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  reset(): void {
    this.#messages = [];
  }

  /**
   * Asks for the answer to `text`; "" goes on with the text so far. The conversation changes when
   * `answered` is called.
   *
   * @throws {UsageError} if the context has no room for an answer.
   * @throws {ModelFormatError | UnsupportedError} if the template fails or refuses the messages.
   */
  ask(text: string, sampling: SamplingOptions, signal: AbortSignal): TextAnswer {
    const { model } = this;
    this.#asked = text === "" ? this.#messages : [...this.#messages, message("user", text)];
    const { system } = this;
    const all = system === undefined ? this.#asked : [message("system", system), ...this.#asked];
    const ids = encodeChat(model.tokenizer, this.#template, all);
    if (ids.length >= model.contextLength) throw this.#full(ids.length);
    const prompt = { ids, continues: this.continues };
    return submitPrompt(model, prompt, this.values, sampling, { signal });
  }

  /** Adds the turn: what was asked, and the answer to it. */
  answered(text: string): void {
    const last = this.#asked.at(-1)!;
    this.#messages = this.continues
      ? [...this.#asked.slice(0, -1), message(last.role, last.content + text)]
      : [...this.#asked, message("assistant", text)];
  }

  #full(tokens: number): UsageError {
    const { contextLength, config } = this.model;
    const what = this.isEmpty ? "the message" : "the conversation";
    const ways = [
      this.isEmpty ? "shorten it" : "/reset starts anew",
      ...(contextLength < config.contextLength
        ? [`tvllm generate --ctx-size takes up to ${config.contextLength}`]
        : []),
    ];
    return new UsageError(
      `Cannot answer: ${what} has ${tokens} tokens, the context ${contextLength}; ${
        ways.join("; ")
      }`,
    );
  }
}

function message(role: string, content: string): ChatMessage {
  return { role, content };
}
