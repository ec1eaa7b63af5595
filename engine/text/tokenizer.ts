/**
 * Converts text to token ids and back. `@huggingface/tokenizers` runs normalizers and
 * pre-tokenizers, described by tokenizer.json or by an equivalent description from GGUF metadata.
 * Merging (bpe.ts) and the bytes of tokens (vocabulary.ts) are implemented here.
 */

import { ModelFormatError, RequestError, UnsupportedError } from "../errors.ts";
import type { MetadataValue } from "../files/model_file.ts";
import { printable } from "../files/quote.ts";
import type { BpeModel } from "./bpe.ts";
import { hasTooManyMarks } from "./check_rules.ts";
import { ggufParts } from "./gguf_parts.ts";
import { jsonParts, type TokenizerFiles } from "./json_parts.ts";
import type { TextRules } from "./packages.ts";
import { SpecialTokens } from "./special_tokens.ts";
import type { TextRule, TokenizerParts } from "./tokenizer_parts.ts";
import { TOKEN_KIND, type Vocabulary } from "./vocabulary.ts";
import { textRules, WordSplitter } from "./word_splitter.ts";

/**
 * Returns the tokenizer that a GGUF file's metadata describes: byte-level BPE
 * (`tokenizer.ggml.model` gpt2) or SentencePiece (llama).
 *
 * @param fileName names the file in errors
 * @throws {ModelFormatError} if the metadata is incomplete or contradicts itself.
 * @throws {UnsupportedError} for another kind of tokenizer or an unknown pre-tokenizer.
 */
export function loadTokenizer(
  metadata: ReadonlyMap<string, MetadataValue>,
  fileName: string,
): Tokenizer {
  return new Tokenizer(ggufParts(metadata, fileName));
}

/**
 * Returns the tokenizer that Hugging Face's tokenizer.json describes (model type BPE).
 *
 * @param fileName names tokenizer.json in errors
 * @throws {ModelFormatError} if it is incomplete or contradicts itself.
 * @throws {UnsupportedError} for another model type, or a rule that the library does not support.
 */
export function tokenizerFromJson(files: TokenizerFiles, fileName: string): Tokenizer {
  try {
    return new Tokenizer(jsonParts(files, fileName));
  } catch (error) {
    if (error instanceof ModelFormatError || error instanceof UnsupportedError) throw error;
    // Errors of check_rules.ts, or of the library: an unknown rule, or an invalid expression.
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnsupportedError(
      `Cannot read the tokenizer of ${fileName}: ${printable(reason)}`,
    );
  }
}

/** Options for encoding text. */
export interface EncodeOptions {
  /**
   * Whether control tokens that are spelled out in the text, such as `<|im_end|>`, are encoded as
   * such. Default false: they are encoded as ordinary text.
   */
  readonly special?: boolean;
  /**
   * A string to remove after control tokens have been found. Inserted into text, it prevents the
   * text from being recognized as a control token.
   */
  readonly without?: string;
}

/** Options for decoding tokens. */
export interface DecodeOptions {
  /** Whether control tokens are spelled out. Default false: they are left out. */
  readonly special?: boolean;
  /**
   * Whether the ids continue earlier text, so that a space before the first word is kept. Default
   * false: the space that SentencePiece adds before every text is removed.
   */
  readonly continues?: boolean;
}

/** A model's tokenizer. Except for caches, it keeps no state between calls. */
export class Tokenizer {
  /** Number of token ids, which start at 0. */
  readonly vocabSize: number;
  /** The token at the start of a text (BOS). */
  readonly bosId: number | undefined;
  /** The end token that the model file names; `eosIds` contains it and all others. */
  readonly eosId: number | undefined;
  /** Tokens that end generation: end of text, of turn, of message. May be empty. */
  readonly eosIds: ReadonlySet<number>;
  /** Whether the model expects BOS before a text; `encode` never adds it. */
  readonly addBos: boolean;
  /** Whether a space is added before every text, as SentencePiece does. */
  readonly spacePrefix: boolean;
  /** Warnings for the user about the file that the tokenizer comes from, one line each. */
  readonly warnings: readonly string[];

  readonly #vocabulary: Vocabulary;
  readonly #model: BpeModel;
  readonly #rules: TextRules;
  readonly #splitter: WordSplitter;
  readonly #normalizer: TextRule | null;
  readonly #control: SpecialTokens;
  readonly #userDefined: SpecialTokens;
  /** User-defined tokens that are searched for in the normalized text. */
  readonly #normalized: SpecialTokens;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** @ignore Use `modelTokenizer`. */
  constructor(parts: TokenizerParts) {
    const { vocabulary } = parts;
    this.#normalizer = parts.normalizer;
    this.vocabSize = vocabulary.size;
    this.bosId = parts.bosId;
    this.eosId = parts.eosId;
    this.eosIds = parts.endIds;
    this.addBos = parts.addBos && parts.bosId !== undefined;
    this.spacePrefix = parts.spacePrefix;
    this.warnings = parts.warnings ?? [];
    this.#vocabulary = vocabulary;
    this.#model = parts.model;
    this.#rules = textRules(parts.normalizer, null);
    this.#splitter = new WordSplitter(parts.preTokenizer);
    const added = parts.addedTokens;
    const { control, unknown, userDefined } = TOKEN_KIND;
    this.#control = new SpecialTokens(tokensOfKind(vocabulary, [control, unknown]), added);
    const { normalizer } = this.#rules;
    const plain = new Map<string, number>();
    const normalized = new Map<string, number>();
    for (const [text, id] of tokensOfKind(vocabulary, [userDefined])) {
      if (normalizer === null || !added?.get(id)?.normalized) plain.set(text, id);
      else normalized.set(normalizer.normalize(text), id);
    }
    this.#userDefined = new SpecialTokens(plain, added);
    this.#normalized = new SpecialTokens(normalized, added);
  }

  /**
   * Returns the token ids of the text. Lone surrogates are encoded as U+FFFD. No BOS is added.
   *
   * Tokens that the model's makers added as text (GGUF's type user-defined, such as Qwen3's
   * `<think>`) are always recognized, as in llama.cpp and Hugging Face's tokenizers.
   *
   * @throws {RequestError} if the text has too many combining marks in a row to normalize them.
   */
  encode(text: string, { special = false, without = "" }: EncodeOptions = {}): number[] {
    const ids: number[] = [];
    const wellFormed = text.toWellFormed();
    const parts = (special ? this.#control.split(wellFormed) : [wellFormed])
      .map((part) =>
        typeof part === "string" && without !== "" ? part.replaceAll(without, "") : part
      )
      .flatMap((part) => typeof part === "string" ? this.#userDefined.split(part) : part);
    for (const [at, part] of parts.entries()) {
      if (typeof part === "number") ids.push(part);
      else this.#encodeText(part, at, ids);
    }
    return ids;
  }

  /**
   * Splits text at the control tokens spelled out in it. Returns their ids and the text between.
   */
  splitControl(text: string): (string | number)[] {
    return this.#control.splitSpelled(text);
  }

  /** Returns the control tokens as they are spelled in a text. */
  controlSpellings(): readonly string[] {
    return this.#control.spellings;
  }

  /** Returns the length of the end of `text` that more text could complete to a control token. */
  openControlEnd(text: string): number {
    return this.#control.openEnd(text);
  }

  /** Returns the text of the ids. Invalid UTF-8 is decoded to U+FFFD. */
  decode(
    ids: readonly number[],
    { special = false, continues = false }: DecodeOptions = {},
  ): string {
    const parts = ids.map((id) => this.tokenBytes(id, special));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let length = 0;
    for (const part of parts) {
      bytes.set(part, length);
      length += part.length;
    }
    const text = this.#decoder.decode(bytes);
    return this.spacePrefix && !continues && text.startsWith(" ") ? text.slice(1) : text;
  }

  /**
   * Returns the bytes of the token, which may be parts of characters. Returns none for a control
   * token unless `special` is true, and none for an id beyond the vocabulary, which padded output
   * heads can produce.
   */
  tokenBytes(id: number, special = false): Uint8Array {
    return !special && this.isControl(id) ? NO_BYTES : this.#vocabulary.bytes(id);
  }

  /** Returns `tokenBytes` as text, or null if they are not whole characters. */
  tokenText(id: number, special = false): string | null {
    return !special && this.isControl(id) ? "" : this.#vocabulary.text(id);
  }

  /** Whether the token is control, unknown or unused, and so not text. */
  isControl(id: number): boolean {
    return this.#vocabulary.isControl(id);
  }

  /** Returns the token as the vocabulary spells it, such as `<|im_end|>` or `Ġthe`. */
  spelling(id: number): string {
    return this.#vocabulary.pieces[id] ?? "";
  }

  /**
   * Returns the token in readable form: its text with unprintable characters escaped, or `\xHH` for
   * each byte if the bytes are not whole characters.
   */
  piece(id: number): string {
    const text = this.#vocabulary.text(id);
    if (text !== null) return text.replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, escapeCharacter);
    return Array.from(
      this.#vocabulary.bytes(id),
      (byte) => `\\x${byte.toString(16).padStart(2, "0")}`,
    ).join("");
  }

  /** @param at index among the parts that special tokens split the text into */
  #encodeText(text: string, at: number, into: number[]): void {
    if (hasTooManyMarks(this.#normalizer, text)) {
      throw new RequestError(
        "Cannot encode the text: it has more than 1000 combining marks in a row",
      );
    }
    const { normalizer } = this.#rules;
    const normal = normalizer === null ? text : normalizer.normalize(text);
    for (const part of this.#normalized.split(normal)) {
      if (typeof part === "number") into.push(part);
      else {
        for (const words of this.#splitter.words(part, at)) this.#model.encode(words, into);
      }
    }
  }
}

const NO_BYTES = new Uint8Array(0);

function escapeCharacter(c: string): string {
  const short = { "\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\" }[c];
  return short ?? `\\u{${c.codePointAt(0)!.toString(16)}}`;
}

function tokensOfKind(vocabulary: Vocabulary, kinds: readonly number[]): Map<string, number> {
  const tokens = new Map<string, number>();
  for (const [id, piece] of vocabulary.pieces.entries()) {
    if (piece !== "" && kinds.includes(vocabulary.kinds[id]!)) tokens.set(piece, id);
  }
  return tokens;
}
