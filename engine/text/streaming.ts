/** Converts token ids to text as they arrive, and never returns part of a character. */

import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Decodes one sequence of tokens. The results of all `push` calls and of a final `flush` together
 * are the text that `Tokenizer.decode` returns for all the ids. `push` takes constant time.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #special: boolean;
  /** Whether the next text is the first one, from which the added space must be removed. */
  #stripSpace: boolean;
  /** Bytes of an incomplete character; `#openCount` is their number. */
  readonly #open = new Uint8Array(4);
  #openCount = 0;

  /** Starts a sequence. The options are those of `Tokenizer.decode`. */
  constructor(
    tokenizer: Tokenizer,
    { special = false, continues = false }: DecodeOptions = {},
  ) {
    this.#tokenizer = tokenizer;
    this.#special = special;
    this.#stripSpace = tokenizer.spacePrefix && !continues;
  }

  /** Returns the text that this token completes; "" while a character is incomplete. */
  push(id: number): string {
    if (this.#openCount === 0) {
      const text = this.#tokenizer.tokenText(id, this.#special);
      if (text !== null) return this.#strip(text);
    }
    const bytes = this.#tokenizer.tokenBytes(id, this.#special);
    return this.#strip(this.#pushCharacter(bytes) ?? this.#pushBytes(bytes));
  }

  /** Returns the rest after the last token: U+FFFD for a character that stayed incomplete. */
  flush(): string {
    const rest = decoder.decode(this.#open.subarray(0, this.#openCount));
    this.#openCount = 0;
    return rest;
  }

  /**
   * Handles the usual case ten times faster than TextDecoder: the bytes continue or complete a
   * single character. Otherwise returns undefined and changes nothing but bytes of `#open` past its
   * count.
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

  /** Decodes any bytes, except an incomplete character at their end. */
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

/** Returns the length of the UTF-8 character that starts with this byte; 0 if none does. */
function sequenceLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/**
 * Returns the code point of `length` bytes (2 to 4), of which all but the first are known to be
 * continuation bytes. Returns undefined if they are not valid UTF-8.
 */
function codePoint(bytes: Uint8Array, length: number): number | undefined {
  let code = bytes[0]! & (0x7f >> length);
  for (let i = 1; i < length; i++) code = (code << 6) | (bytes[i]! & 0x3f);
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  const isSurrogate = code >= 0xd800 && code < 0xe000;
  return code < least || code > 0x10ffff || isSurrogate ? undefined : code;
}

/**
 * Returns the number of bytes at the end that start a UTF-8 character without completing it. This
 * may include bytes that cannot become a character. They are decoded to U+FFFD with a later byte.
 */
function openLength(bytes: Uint8Array): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const needed = sequenceLength(bytes[bytes.length - n]!);
    if (needed > 0) return n < needed ? n : 0;
  }
  return 0;
}
