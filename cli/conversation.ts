/** A chat as data: its messages, and the request of its next turn. */

import { RequestError } from "../engine/errors.ts";
import type { GenerateOptions, Model } from "../engine/mod.ts";
import { templateOf } from "../engine/prompt.ts";
import type { Answer } from "../engine/run/answer.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";

/** A turn, and what it can be taken back to. */
interface Turn {
  readonly before: readonly ChatMessage[];
  readonly text: string;
}

/**
 * The messages so far. Every turn is the whole conversation anew, so that the template sees it all;
 * the engine's prefix cache computes only what the turn before has not.
 */
export class Conversation {
  #messages: readonly ChatMessage[] = [];
  #asked: readonly ChatMessage[] = [];
  #text = "";
  readonly #turns: Turn[] = [];
  /** The model has no chat template: its answers go on with what was written. */
  readonly continues: boolean;
  system: string | undefined;
  readonly #options: GenerateOptions;

  /** `options` hold for all turns: among them, the template by which they are put to the model. */
  constructor(readonly model: Model, { system, ...options }: GenerateOptions) {
    this.system = system;
    this.#options = options;
    this.continues = templateOf(model, options) === undefined;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** What was said, without the system message. */
  get messages(): readonly ChatMessage[] {
    return this.#messages;
  }

  reset(): void {
    this.#messages = [];
    this.#turns.length = 0;
  }

  /** Goes on from another conversation. */
  restore(messages: readonly ChatMessage[], system: string | undefined): void {
    this.reset();
    this.#messages = messages;
    this.system = system;
  }

  /** Takes the last turn back and returns what was asked in it; undefined if there is none. */
  undo(): string | undefined {
    const turn = this.#turns.pop();
    if (turn === undefined) return undefined;
    this.#messages = turn.before;
    return turn.text;
  }

  /**
   * Asks for the answer to `text`, with `options` for this turn; "" goes on with the text so far. The
   * conversation changes when `answered` is called.
   *
   * @throws {RequestError} if the context has no room for an answer, or the template refuses the
   * messages.
   * @throws {ModelFormatError} if the template fails.
   */
  ask(text: string, options: Omit<GenerateOptions, "system">): Answer {
    this.#text = text;
    this.#asked = text === "" ? this.#messages : [...this.#messages, message("user", text)];
    const { system } = this;
    const all = system === undefined ? this.#asked : [message("system", system), ...this.#asked];
    try {
      return this.model.generate(all, { ...this.#options, ...options });
    } catch (error) {
      const tooLong = error instanceof RequestError && error.kind === "too-long";
      if (!tooLong || this.isEmpty) throw error;
      throw new RequestError(
        `${error.message}; /undo takes the last turn back, /reset starts anew`,
        { kind: "too-long" },
      );
    }
  }

  /** Adds the turn: what was asked, and the answer to it. */
  answered(text: string): void {
    const last = this.#asked.at(-1)!;
    this.#turns.push({ before: this.#messages, text: this.#text });
    this.#messages = this.continues
      ? [...this.#asked.slice(0, -1), message(last.role, last.content + text)]
      : [...this.#asked, message("assistant", text)];
  }
}

function message(role: string, content: string): ChatMessage {
  return { role, content };
}
