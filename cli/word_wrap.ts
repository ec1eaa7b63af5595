/** Breaks lines between words at the terminal's width, while the text comes. */

import stringWidth from "string-width";

/** What a line may break after: space, and characters of scripts that use none. */
const BREAKS = /(\s|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])/u;

/**
 * Wraps a text that comes in pieces. Nothing waits for the end of its word: a word that turns out too
 * long for its line is removed from there and written on the next.
 */
export class WordWrap {
  /** Where the unfinished word begins, in cells, and what there is of it. */
  #start = 0;
  #word = "";
  /** The word is longer than a line: the terminal breaks it. */
  #long = false;
  /** A space at the end of a line was left out; what follows begins a new one. */
  #full = false;

  /** `columns` of the terminal, which may change. */
  constructor(readonly columns: () => number) {}

  /** What to write for the next piece. */
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
      this.#begin(this.#end); // a word of its own
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

  /** In the last column a cursor can be in one of two places. */
  get #width(): number {
    return this.columns() - 1;
  }
}
