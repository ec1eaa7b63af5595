/** Wraps lines at words to the terminal's width, while the text arrives. */

import stringWidth from "string-width";

/** Characters after which a line may break: white space, and scripts that do not use spaces. */
const BREAKS = /(\s|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])/u;

/**
 * Wraps a text that arrives in pieces. Pieces are written before their word is complete. If a word
 * becomes too long for its line, it is erased there and written on the next line.
 */
export class WordWrap {
  /** Column at which the unfinished word begins. */
  #start = 0;
  /** The part of the unfinished word that has arrived. */
  #word = "";
  /** Whether the word is longer than a line, so that the terminal breaks it. */
  #long = false;
  /** Whether a space at the end of the line was dropped, so that further text begins a new line. */
  #full = false;

  /** @param columns returns the number of columns of the terminal, which may change */
  constructor(readonly columns: () => number) {}

  /** Returns the text to write for the next piece. */
  push(text: string): string {
    return text.split(BREAKS).map((part) => part === "" ? "" : this.#part(part)).join("");
  }

  #part(part: string): string {
    if (part === "\n") {
      this.#begin(0);
      return part;
    }
    if (!BREAKS.test(part)) return this.#letters(part);
    if (/\S/.test(part)) {
      this.#begin(this.#end); // The character is a word by itself.
      const written = this.#letters(part);
      this.#begin(this.#end);
      return written;
    }
    const end = this.#end;
    const next = part === "\t" ? 8 * (Math.floor(end / 8) + 1) : end + 1;
    if (next > this.#width) {
      this.#full = true;
      return "";
    }
    this.#begin(next);
    return part;
  }

  #letters(part: string): string {
    if (this.#full) {
      this.#begin(0);
      return `\n${this.#letters(part)}`;
    }
    const before = stringWidth(this.#word);
    this.#word += part;
    if (this.#long || this.#start + stringWidth(this.#word) <= this.#width) return part;
    if (this.#start === 0) {
      this.#long = true;
      return part;
    }
    this.#start = 0;
    this.#long = stringWidth(this.#word) > this.#width;
    return `${before > 0 ? `\x1b[${before}D\x1b[K` : ""}\n${this.#word}`;
  }

  #begin(column: number): void {
    this.#start = column;
    this.#word = "";
    this.#long = false;
    this.#full = false;
  }

  /** The column after the word. */
  get #end(): number {
    const end = this.#start + stringWidth(this.#word);
    return this.#long ? end % this.columns() : end;
  }

  /**
   * The usable width. The last column stays free: after it, terminals place the cursor differently.
   */
  get #width(): number {
    return this.columns() - 1;
  }
}
