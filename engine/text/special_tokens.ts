/** Finding tokens that are written out in a text, before any other splitting. */

/** What the characters so far begin, and the token that they are. */
interface Node {
  readonly next: Map<number, Node>;
  id?: number;
}

/** How a token is found in a text, as tokenizer.json's added tokens say it. */
export interface TokenSearch {
  /** White space before it belongs to it. */
  readonly lstrip?: boolean;
  /** White space after it belongs to it. */
  readonly rstrip?: boolean;
  /** It is not special within a word. */
  readonly singleWord?: boolean;
}

const SPACE = /\p{White_Space}/u;
const WORD_AT_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u;
const WORD_AT_START = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;

/**
 * Splits text at the tokens given; of those that begin at one place the longest counts. Source of what
 * `TokenSearch` means: added_vocabulary.rs of Hugging Face's tokenizers.
 */
export class SpecialTokens {
  readonly #root: Node = { next: new Map() };
  readonly #searches: ReadonlyMap<number, TokenSearch>;
  #longest = 0;

  readonly spellings: readonly string[];

  constructor(
    tokens: ReadonlyMap<string, number>,
    searches: ReadonlyMap<number, TokenSearch> = new Map(),
  ) {
    this.spellings = [...tokens.keys()];
    this.#searches = searches;
    for (const [text, id] of tokens) {
      this.#longest = Math.max(this.#longest, text.length);
      let node = this.#root;
      for (let at = 0; at < text.length; at++) {
        const code = text.charCodeAt(at);
        let next = node.next.get(code);
        if (next === undefined) node.next.set(code, next = { next: new Map() });
        node = next;
      }
      node.id = id;
    }
  }

  /** The ids of the tokens found and the text between them, in order; no empty text. */
  split(text: string): (string | number)[] {
    return this.#split(text, this.#searches);
  }

  /** The same for tokens wherever they are spelled, with all the text between them. */
  splitSpelled(text: string): (string | number)[] {
    return this.#split(text, new Map());
  }

  #split(text: string, searches: ReadonlyMap<number, TokenSearch>): (string | number)[] {
    if (this.#longest === 0) return text === "" ? [] : [text];
    const parts: (string | number)[] = [];
    let start = 0;
    for (let at = 0; at < text.length;) {
      const found = this.#tokenAt(text, at);
      if (found === undefined) {
        at++;
        continue;
      }
      const end = at + found.length;
      const { lstrip, rstrip, singleWord } = searches.get(found.id) ?? {};
      if (singleWord && isWithinWord(text, at, end)) {
        at = end;
        continue;
      }
      let first = at;
      if (lstrip) { while (first > start && SPACE.test(text[first - 1]!)) first--; }
      at = end;
      if (rstrip) { while (at < text.length && SPACE.test(text[at]!)) at++; }
      if (first > start) parts.push(text.slice(start, first));
      parts.push(found.id);
      start = at;
    }
    if (start < text.length) parts.push(text.slice(start));
    return parts;
  }

  /** Length of the longest end of `text` that begins a token without being all of it. */
  openEnd(text: string): number {
    for (let length = Math.min(this.#longest - 1, text.length); length > 0; length--) {
      let node: Node | undefined = this.#root;
      for (let at = text.length - length; at < text.length && node !== undefined; at++) {
        node = node.next.get(text.charCodeAt(at));
      }
      if (node !== undefined && node.next.size > 0) return length;
    }
    return 0;
  }

  #tokenAt(text: string, at: number): { id: number; length: number } | undefined {
    let found: { id: number; length: number } | undefined;
    let node: Node | undefined = this.#root;
    for (let end = at; end < text.length; end++) {
      node = node.next.get(text.charCodeAt(end));
      if (node === undefined) break;
      if (node.id !== undefined) found = { id: node.id, length: end + 1 - at };
    }
    return found;
  }
}

function isWithinWord(text: string, start: number, end: number): boolean {
  return WORD_AT_END.test(text.slice(Math.max(0, start - 2), start)) ||
    WORD_AT_START.test(text.slice(end, end + 2));
}
