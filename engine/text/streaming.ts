/** Token ids to text while they come, never half a character. */

import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Decodes one sequence of tokens. What `push` returned and `flush` at the end are together the
 * text that `Tokenizer.decode` gives for all the ids. A push takes constant time.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #special: boolean;
  /** The next text begins the answer, and a space there is not the model's. */
  #stripSpace: boolean;
  /** The first bytes of a character whose last are still to come, and how many. */
  readonly #open = new Uint8Array(4);
  #openCount = 0;

  /** For one sequence; the options are those of `Tokenizer.decode`. */
  constructor(
    tokenizer: Tokenizer,
    { special = false, continues = false }: DecodeOptions = {},
  ) {
    this.#tokenizer = tokenizer;
    this.#special = special;
    this.#stripSpace = tokenizer.spacePrefix && !continues;
  }

  /** The text that became whole by this token; "" while a character is open. */
  push(id: number): string {
    if (this.#openCount === 0) {
      const text = this.#tokenizer.tokenText(id, this.#special);
      if (text !== null) return this.#strip(text);
    }
    const bytes = this.#tokenizer.tokenBytes(id, this.#special);
    return this.#strip(this.#pushCharacter(bytes) ?? this.#pushBytes(bytes));
  }

  /** What is left when no token follows: U+FFFD for a character that stayed open. */
  flush(): string {
    const rest = decoder.decode(this.#open.subarray(0, this.#openCount));
    this.#openCount = 0;
    return rest;
  }

  /**
   * The usual case, ten times faster than TextDecoder: the bytes continue with one character, or
   * complete it. Otherwise nothing changes but `#open` past its count.
   */
  #pushCharacter(bytes: Uint8Array): string | undefined {
    const open = this.#open;
    const count = this.#openCount + bytes.length;
    if (count > 4) return undefined;
    for (let i = 0; i < bytes.length; i++) open[this.#openCount + i] = bytes[i]!;
    for (let i = 1; i < count; i++) if ((open[i]! & 0xc0) !== 0x80) return undefined;
    const needed = sequenceLength(open[0]!);
    if (count > needed) return undefined;
    if (count < needed) {
      this.#openCount = count;
      return "";
    }
    const code = codePoint(open, count);
    if (code === undefined) return undefined;
    this.#openCount = 0;
    return String.fromCodePoint(code);
  }

  /** Any bytes: decodes up to a character that they leave open. */
  #pushBytes(bytes: Uint8Array): string {
    const all = new Uint8Array(this.#openCount + bytes.length);
    all.set(this.#open.subarray(0, this.#openCount));
    all.set(bytes, this.#openCount);
    const complete = all.length - openLength(all);
    this.#open.set(all.subarray(complete));
    this.#openCount = all.length - complete;
    return decoder.decode(all.subarray(0, complete));
  }

  #strip(text: string): string {
    if (!this.#stripSpace || text === "") return text;
    this.#stripSpace = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}

/** Bytes of the UTF-8 character that begins with this one; 0 where none does. */
function sequenceLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** The character that `length` bytes, 2 to 4, are, all but the first known to continue one. */
function codePoint(bytes: Uint8Array, length: number): number | undefined {
  let code = bytes[0]! & (0x7f >> length);
  for (let i = 1; i < length; i++) code = (code << 6) | (bytes[i]! & 0x3f);
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  const isSurrogate = code >= 0xd800 && code < 0xe000;
  return code < least || code > 0x10ffff || isSurrogate ? undefined : code;
}

/**
 * How many bytes at the end begin a UTF-8 character that they do not complete. Bytes that cannot
 * become a character may count too: they are decoded, to U+FFFD, with the byte that shows it.
 */
function openLength(bytes: Uint8Array): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const needed = sequenceLength(bytes[bytes.length - n]!);
    if (needed > 0) return n < needed ? n : 0;
  }
  return 0;
}
