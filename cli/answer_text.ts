/** Prints the text of an answer as it comes: wrapped, and with a model's thinking set apart. */

import { escapeControls } from "../engine/text/terminal_text.ts";
import type { Terminal } from "./terminal.ts";
import { Thinking } from "./thinking.ts";
import type { WordWrap } from "./word_wrap.ts";

/** How an answer is shown. */
export interface TextValues {
  /** False leaves long lines to the terminal. */
  readonly wrap?: boolean | undefined;
  /** False leaves out what the model thinks before its answer. */
  readonly thinking?: boolean | undefined;
}

/** Writes one answer to stdout. */
export class AnswerText {
  readonly #terminal: Terminal;
  readonly #thinking: Thinking;
  readonly #wrap: WordWrap | undefined;
  readonly #hides: boolean;
  #last = "";

  private constructor(terminal: Terminal, thinking: Thinking, options: {
    readonly wrap: WordWrap | undefined;
    readonly hides: boolean;
  }) {
    this.#terminal = terminal;
    this.#thinking = thinking;
    this.#wrap = options.wrap;
    this.#hides = options.hides;
  }

  /** `thinks`: the answer begins in the model's thoughts. */
  static async begin(
    terminal: Terminal,
    { wrap = true, thinking = true }: TextValues,
    thinks: boolean,
  ): Promise<AnswerText> {
    const wraps = wrap && terminal.stdoutIsTerminal && !terminal.isDumb;
    return new AnswerText(terminal, new Thinking(thinks), {
      wrap: wraps ? await wordWrap(terminal) : undefined,
      hides: !thinking,
    });
  }

  /** Whether something was written. */
  get begun(): boolean {
    return this.#last !== "";
  }

  /** Writes the next piece; false if it shows nothing. */
  write(text: string): boolean {
    return this.#show(this.#thinking.push(text));
  }

  /** Writes what was held back, and the end of the last line. */
  end(): void {
    this.#show(this.#thinking.end());
    if (this.#last !== "" && !this.#last.endsWith("\n")) this.#terminal.write("\n");
  }

  #show(parts: ReturnType<Thinking["push"]>): boolean {
    const terminal = this.#terminal;
    let seen = false;
    for (const { text, thought } of parts) {
      if (text === "" || (thought && this.#hides)) continue;
      // What comes after hidden thoughts is the beginning.
      const shown = this.#hides && this.#last === "" ? text.trimStart() : text;
      if (shown === "") continue;
      seen = true;
      this.#last = shown;
      const safe = terminal.stdoutIsTerminal ? escapeControls(shown) : shown;
      const lines = this.#wrap?.push(safe) ?? safe;
      terminal.draw(thought ? terminal.style("dim", lines, "stdout") : lines);
    }
    return seen;
  }
}

/** Imported when a line is to be wrapped: its table of wide characters takes 30 ms. */
async function wordWrap(terminal: Terminal): Promise<WordWrap> {
  const { WordWrap } = await import("./word_wrap.ts");
  return new WordWrap(() => terminal.columns);
}
