/** The tokens of a model: the spelling, the kind and the bytes of each. */

import { byteCharacters } from "../files/byte_characters.ts";

/** GGUF's `tokenizer.ggml.token_type`. */
export const TOKEN_KIND = {
  undefined: 0,
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/**
 * How pieces spell bytes: each byte as a printable character (GPT-2), or text with U+2581 for
 * spaces and `<0xHH>` for single bytes (SentencePiece).
 */
export type Spelling = "byte-level" | "sentencepiece";

/** SentencePiece's character for a space. */
export const SPM_SPACE = "\u2581";

/** SentencePiece's spelling of a token for a single byte. */
export const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/;

const NO_BYTES = new Uint8Array(0);

/** Tokens by id. Bytes and texts are computed on first use, and cached. */
export class Vocabulary {
  readonly #bytes: (Uint8Array | undefined)[];
  readonly #texts: (string | null | undefined)[];
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #byteOfChar: ReadonlyMap<number, number>;

  constructor(
    readonly pieces: readonly string[],
    /** A `TOKEN_KIND` per piece. */
    readonly kinds: Uint8Array,
    readonly spelling: Spelling,
  ) {
    this.#bytes = new Array(pieces.length);
    this.#texts = new Array(pieces.length);
    this.#byteOfChar = new Map(byteCharacters().map((c, byte) => [c.charCodeAt(0), byte]));
  }

  get size(): number {
    return this.pieces.length;
  }

  /** Whether the token is control, unknown or unused, and so not text. */
  isControl(id: number): boolean {
    const kind = this.kinds[id];
    return kind === TOKEN_KIND.control || kind === TOKEN_KIND.unknown || kind === TOKEN_KIND.unused;
  }

  /** Returns the token's bytes; none for an id beyond the vocabulary (of a padded output head). */
  bytes(id: number): Uint8Array {
    return this.#bytes[id] ??= this.#spelledBytes(id);
  }

  /** Returns the token's bytes as text, or null if they are not whole UTF-8 characters. */
  text(id: number): string | null {
    const known = this.#texts[id];
    if (known !== undefined) return known;
    const text = this.#decoder.decode(this.bytes(id));
    // null is returned for the token U+FFFD too: callers then decode its bytes, to the same text.
    return this.#texts[id] = text.includes("\ufffd") ? null : text;
  }

  #spelledBytes(id: number): Uint8Array {
    const piece = this.pieces[id];
    if (piece === undefined || piece === "") return NO_BYTES;
    if (this.isControl(id) || this.kinds[id] === TOKEN_KIND.userDefined) {
      return this.#encoder.encode(piece);
    }
    if (this.spelling === "byte-level") return this.#byteLevel(piece);
    const byte = this.kinds[id] === TOKEN_KIND.byte ? BYTE_TOKEN.exec(piece) : null;
    if (byte !== null) return Uint8Array.of(parseInt(byte[1]!, 16));
    return this.#encoder.encode(piece.replaceAll(SPM_SPACE, " "));
  }

  #byteLevel(piece: string): Uint8Array {
    const bytes = new Uint8Array(piece.length);
    for (let i = 0; i < piece.length; i++) {
      const byte = this.#byteOfChar.get(piece.charCodeAt(i));
      // Added tokens that a converter marked as normal are spelled as plain text.
      if (byte === undefined) return this.#encoder.encode(piece);
      bytes[i] = byte;
    }
    return bytes;
  }
}
