/** Finding tokens that are written out in a text, before any other splitting. */

/** Splits text at the tokens given; of those that begin at one place the longest counts. */
export class SpecialTokens {
  readonly #ids: ReadonlyMap<string, number>;
  /** The lengths of the tokens that begin with a character, longest first. */
  readonly #lengths = new Map<number, number[]>();

  constructor(tokens: ReadonlyMap<string, number>) {
    this.#ids = tokens;
    for (const text of tokens.keys()) {
      const first = text.charCodeAt(0);
      const lengths = this.#lengths.get(first) ?? [];
      if (!lengths.includes(text.length)) lengths.push(text.length);
      this.#lengths.set(first, lengths);
    }
    for (const lengths of this.#lengths.values()) lengths.sort((a, b) => b - a);
  }

  /** The ids of the tokens found and the text between them, in order; no empty text. */
  split(text: string): (string | number)[] {
    if (this.#ids.size === 0) return text === "" ? [] : [text];
    const parts: (string | number)[] = [];
    let start = 0;
    for (let at = 0; at < text.length;) {
      const found = this.#tokenAt(text, at);
      if (found === undefined) {
        at++;
        continue;
      }
      if (at > start) parts.push(text.slice(start, at));
      parts.push(found.id);
      start = at += found.length;
    }
    if (start < text.length) parts.push(text.slice(start));
    return parts;
  }

  /** Length of the longest end of `text` that begins a token without being all of it. */
  openEnd(text: string): number {
    let longest = 0;
    for (const token of this.#ids.keys()) {
      for (let n = Math.min(token.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(token.slice(0, n))) longest = n;
      }
    }
    return longest;
  }

  #tokenAt(text: string, at: number): { id: number; length: number } | undefined {
    const lengths = this.#lengths.get(text.charCodeAt(at));
    if (lengths === undefined) return undefined;
    for (const length of lengths) {
      const id = this.#ids.get(text.slice(at, at + length));
      if (id !== undefined) return { id, length };
    }
    return undefined;
  }
}
