/** Prints the text of an answer as it arrives. Wraps lines and dims the model's thoughts. */

import { escapeControls } from "../engine/text/terminal_text.ts";
import type { Terminal } from "./terminal.ts";
import { Thinking } from "./thinking.ts";
import type { WordWrap } from "./word_wrap.ts";

/** Options for the text of an answer. */
export interface TextValues {
  /** If false, long lines are not wrapped at words; the terminal breaks them. */
  readonly wrap?: boolean | undefined;
  /** If false, the model's thoughts before its answer are not printed. */
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

  /** @param thinks whether the answer begins in the model's thoughts */
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

  /** Whether any text was written. */
  get begun(): boolean {
    return this.#last !== "";
  }

  /** Writes the next piece. Returns false if none of it is visible. */
  write(text: string): boolean {
    return this.#show(this.#thinking.push(text));
  }

  /** Writes text that was held back, and a newline if the last line has none. */
  end(): void {
    this.#show(this.#thinking.end());
    if (this.#last !== "" && !this.#last.endsWith("\n")) this.#terminal.write("\n");
  }

  #show(parts: ReturnType<Thinking["push"]>): boolean {
    const terminal = this.#terminal;
    let seen = false;
    for (const { text, thought } of parts) {
      if (text === "" || (thought && this.#hides)) continue;
      // After hidden thoughts, the answer must not start with their trailing white space.
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

/**
 * Imports the module only if lines are wrapped: its table of wide characters takes 30 ms to load.
 */
async function wordWrap(terminal: Terminal): Promise<WordWrap> {
  const { WordWrap } = await import("./word_wrap.ts");
  return new WordWrap(() => terminal.columns);
}
