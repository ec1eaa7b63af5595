/** Finds special tokens that are spelled out in a text, before any other splitting. */

/** Node of a prefix tree: the possible next characters, and the token that ends here, if any. */
interface Node {
  readonly next: Map<number, Node>;
  id?: number;
}

/** How a token is found in a text, according to the added tokens of tokenizer.json. */
export interface TokenSearch {
  /** Whether the token includes white space before it. */
  readonly lstrip?: boolean;
  /** Whether the token includes white space after it. */
  readonly rstrip?: boolean;
  /** Whether the token is ignored next to characters of a word. */
  readonly singleWord?: boolean;
}

const SPACE = /\p{White_Space}/u;
const WORD_AT_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u;
const WORD_AT_START = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;

/**
 * Splits text at the given tokens. If several tokens start at one position, the longest is used.
 * Source of the meaning of `TokenSearch`: added_vocabulary.rs of Hugging Face's tokenizers.
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

  /** Returns the ids of the tokens found and the non-empty text between them, in order. */
  split(text: string): (string | number)[] {
    return this.#split(text, this.#searches);
  }

  /** Like `split`, but ignores the search rules: finds tokens wherever they are spelled out. */
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

  /** Returns the length of the longest end of `text` that is an incomplete start of a token. */
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
