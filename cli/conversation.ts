/** A chat as data: its turns, and the request of the next one. */

import { RequestError } from "../engine/errors.ts";
import type { GenerateOptions } from "../engine/mod.ts";
import { templateOf } from "../engine/prompt.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";

/** What was asked, and the answer to it. */
export interface Turn {
  /** "" where Enter alone asked for more of the text. */
  readonly prompt: string;
  readonly answer: string;
}

/** Who is talked to: a model, or what asks one. */
interface Partner {
  readonly chatTemplate: string | undefined;
  generate(prompt: readonly ChatMessage[], options: GenerateOptions): unknown;
}

/**
 * The turns so far. Every turn asks with the whole conversation, so that the template sees it all; the
 * engine's prefix cache computes only what the turn before has not.
 */
export class Conversation<P extends Partner = Partner> {
  #turns: readonly Turn[] = [];
  #prompt = "";
  /** The model has no chat template: its answers continue the text. */
  readonly continues: boolean;
  system: string | undefined;
  readonly #options: GenerateOptions;

  /** `options` hold for all turns: among them, the template by which they are put to the model. */
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

  /** Continues another conversation. */
  restore(turns: readonly Turn[], system: string | undefined): void {
    this.#turns = turns;
    this.system = system;
  }

  /** Takes the last turn back and returns what was asked in it; undefined if there is none. */
  undo(): string | undefined {
    const last = this.#turns.at(-1);
    this.#turns = this.#turns.slice(0, -1);
    return last?.prompt;
  }

  /**
   * Asks for the answer to `text`, with `options` for this turn; "" continues the text so far. The
   * conversation changes when `answered` is called.
   *
   * @throws {RequestError} if the context has no room for an answer, or the template refuses the
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

  /** Adds the turn: what was asked last, and the answer to it. */
  answered(answer: string): void {
    this.#turns = [...this.#turns, { prompt: this.#prompt, answer }];
  }

  /** All that is put to the model for the answer to `prompt`. */
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

/** Turns as texts, each with what the model wrote on from it. */
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
