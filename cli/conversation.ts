/** The state of a chat: its turns, and the request for the next answer. */

import { RequestError } from "../engine/errors.ts";
import type { GenerateOptions } from "../engine/mod.ts";
import { templateOf } from "../engine/prompt.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";

/** A message of the user, and the answer to it. */
export interface Turn {
  /** The message; "" if the user pressed Enter alone to continue the text. */
  readonly prompt: string;
  readonly answer: string;
}

/** The other party of a chat: a model or a `Responder`. */
interface Partner {
  readonly chatTemplate: string | undefined;
  generate(prompt: readonly ChatMessage[], options: GenerateOptions): unknown;
}

/**
 * The turns so far. Every request contains the whole conversation, because the template needs all
 * of it. Thanks to the engine's prefix cache, only the new part is computed.
 */
export class Conversation<P extends Partner = Partner> {
  #turns: readonly Turn[] = [];
  #prompt = "";
  /** Whether answers continue the text, because there is no chat template. */
  readonly continues: boolean;
  system: string | undefined;
  readonly #options: GenerateOptions;

  /** @param options for all turns, including the chat template and the system message */
  constructor(readonly model: P, { system, ...options }: GenerateOptions) {
    this.system = system;
    this.#options = options;
    this.continues = templateOf(model, options) === undefined;
  }

  get isEmpty(): boolean {
    return this.#turns.length === 0;
  }

  get turns(): readonly Turn[] {
    return this.#turns;
  }

  reset(): void {
    this.#turns = [];
  }

  /** Replaces the conversation by another one. */
  restore(turns: readonly Turn[], system: string | undefined): void {
    this.#turns = turns;
    this.system = system;
  }

  /** Removes the last turn and returns its message; undefined if there is none. */
  undo(): string | undefined {
    const last = this.#turns.at(-1);
    this.#turns = this.#turns.slice(0, -1);
    return last?.prompt;
  }

  /**
   * Requests the answer to `text`, with `options` for this turn; "" continues the text so far. The
   * turn is not added before `answered` is called.
   *
   * @throws {RequestError} if the context has no room for an answer, or the template rejects the
   * messages.
   * @throws {ModelFormatError} if the template fails.
   */
  ask(text: string, options: Omit<GenerateOptions, "system">): ReturnType<P["generate"]> {
    this.#prompt = text;
    try {
      const answer = this.model.generate(this.#messages(text), { ...this.#options, ...options });
      return answer as ReturnType<P["generate"]>;
    } catch (error) {
      const tooLong = error instanceof RequestError && error.kind === "too-long";
      if (!tooLong || this.isEmpty) throw error;
      throw new RequestError(
        `${error.message}; /undo removes the last turn, /reset starts over`,
        { kind: "too-long" },
      );
    }
  }

  /** Adds a turn: the last message and this answer to it. */
  answered(answer: string): void {
    this.#turns = [...this.#turns, { prompt: this.#prompt, answer }];
  }

  /** Returns all messages of the request for an answer to `prompt`. */
  #messages(prompt: string): ChatMessage[] {
    const said = this.continues
      ? texts([...this.#turns, { prompt, answer: "" }]).map((text) => message("user", text))
      : [
        ...this.#turns.flatMap((turn) => [
          message("user", turn.prompt),
          message("assistant", turn.answer),
        ]),
        message("user", prompt),
      ];
    return this.system === undefined ? said : [message("system", this.system), ...said];
  }
}

/**
 * Joins each prompt and its answer into one text. Turns without a prompt extend the text before.
 */
function texts(turns: readonly Turn[]): string[] {
  const texts: string[] = [];
  for (const { prompt, answer } of turns) {
    const before = prompt === "" ? texts.pop() ?? "" : "";
    texts.push(before + prompt + answer);
  }
  return texts;
}

function message(role: string, content: string): ChatMessage {
  return { role, content };
}
