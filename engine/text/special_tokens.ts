/** Finding tokens that are written out in a text, before any other splitting. */

/** What the characters so far begin, and the token that they are. */
interface Node {
  readonly next: Map<number, Node>;
  id?: number;
}

/** Splits text at the tokens given; of those that begin at one place the longest counts. */
export class SpecialTokens {
  readonly #root: Node = { next: new Map() };
  #longest = 0;

  readonly spellings: readonly string[];

  constructor(tokens: ReadonlyMap<string, number>) {
    this.spellings = [...tokens.keys()];
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
    if (this.#longest === 0) return text === "" ? [] : [text];
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
