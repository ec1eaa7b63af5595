/** Token ids to text while they come, never half a character. */

import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

const NO_BYTES = new Uint8Array(0);
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
  /** The first bytes of a character whose last are still to come: three at most. */
  #open: Uint8Array = NO_BYTES;

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
    if (this.#open.length === 0) {
      const text = this.#tokenizer.tokenText(id, this.#special);
      if (text !== null) return this.#stripSpace ? this.#strip(text) : text;
    }
    const bytes = join(this.#open, this.#tokenizer.tokenBytes(id, this.#special));
    const whole = bytes.length - openLength(bytes);
    this.#open = bytes.subarray(whole);
    if (whole === 0) return "";
    return this.#strip(decoder.decode(bytes.subarray(0, whole)));
  }

  /** What is left when no token follows: U+FFFD for a character that stayed open. */
  flush(): string {
    const rest = decoder.decode(this.#open);
    this.#open = NO_BYTES;
    return rest;
  }

  #strip(text: string): string {
    if (!this.#stripSpace || text === "") return text;
    this.#stripSpace = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/**
 * How many bytes at the end begin a UTF-8 character that they do not complete. Bytes that cannot
 * become a character may count too: they are decoded, to U+FFFD, with the byte that shows it.
 */
function openLength(bytes: Uint8Array): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const byte = bytes[bytes.length - n]!;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return n < needed ? n : 0;
  }
  return 0;
}
