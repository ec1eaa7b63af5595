/** Reads and checks the `tokenizer.ggml.*` metadata of a GGUF file. */

import { ModelFormatError, UnsupportedError } from "../errors.ts";
import type { MetadataValue } from "../files/model_file.ts";
import { quote } from "../files/quote.ts";
import { type MergeList, MergeReader } from "./bpe.ts";
import { isSpelledAsControl, namedEnds } from "./end_tokens.ts";
import { BYTE_TOKEN, TOKEN_KIND } from "./vocabulary.ts";
import { plural } from "../plural.ts";

/** Longest special token. At each position of a text as many characters may be compared. */
const MAX_SPECIAL_LENGTH = 128;

/** The vocabulary of a GGUF file. */
export interface GgufVocabulary {
  readonly model: "gpt2" | "llama";
  /** `tokenizer.ggml.pre`; files older than the key have none. */
  readonly pre: string | undefined;
  readonly pieces: readonly string[];
  /** The id of each piece; empty pieces have none. */
  readonly ids: ReadonlyMap<string, number>;
  /** A `TOKEN_KIND` per piece. */
  readonly kinds: Uint8Array;
  /** One per piece for `llama`, else empty. */
  readonly scores: readonly number[];
  /** Empty for `llama`. */
  readonly merges: MergeList;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly unknownId: number | undefined;
  /** All tokens that end generation, including `eosId`. */
  readonly endIds: ReadonlySet<number>;
  readonly addBos: boolean | undefined;
  readonly addSpacePrefix: boolean;
  /** Warnings about the file for its user, one line each. */
  readonly warnings: readonly string[];
}

/**
 * Reads and checks the vocabulary.
 *
 * @param fileName names the file in errors
 * @throws {ModelFormatError} if a key is missing, of the wrong type, or contradicts another.
 * @throws {UnsupportedError} if the kind of tokenizer is not supported.
 */
export function readGgufVocabulary(
  metadata: ReadonlyMap<string, MetadataValue>,
  fileName: string,
): GgufVocabulary {
  return new VocabularyReader(metadata, fileName).read();
}

class VocabularyReader {
  readonly #warnings: string[] = [];

  constructor(
    readonly metadata: ReadonlyMap<string, MetadataValue>,
    readonly fileName: string,
  ) {}

  read(): GgufVocabulary {
    const model = this.#model();
    const pieces = this.#array("tokens", STRING);
    if (pieces === undefined) throw this.#missing("tokens");
    const ids = this.#ids(pieces);
    const kinds = this.#kinds(pieces, model);
    // Files older than these keys use SentencePiece's usual names.
    const named = (piece: string) => model === "llama" ? ids.get(piece) : undefined;
    const long = pieces.findIndex((piece, id) =>
      kinds[id] !== TOKEN_KIND.normal && piece.length > MAX_SPECIAL_LENGTH
    );
    if (long >= 0) {
      throw this.#fault(
        `special token ${long} has ${pieces[long]!.length} characters; ` +
          `the limit is ${MAX_SPECIAL_LENGTH}`,
      );
    }
    const bosId = this.#id("bos_token_id", pieces) ?? named("<s>");
    const eosId = this.#id("eos_token_id", pieces) ?? named("</s>");
    const unknownId = this.#id("unknown_token_id", pieces) ?? named("<unk>");
    const merges = model === "gpt2" ? this.#merges(ids, pieces) : new Int32Array();
    const endIds = namedEnds(ids, kinds, merges);
    // A file without any of these is valid: its answers end at --max-tokens or with the context.
    for (const id of [eosId, this.#id("eot_token_id", pieces), this.#id("eom_token_id", pieces)]) {
      if (id !== undefined) endIds.add(id);
    }
    // Some converters mark them as normal. They would then be printed, and found in users' text.
    for (const id of [...endIds, ...(bosId === undefined ? [] : [bosId])]) {
      if (isSpelledAsControl(pieces[id]!)) kinds[id] = TOKEN_KIND.control;
    }
    const pre = this.#string("pre");
    if (model === "gpt2" && pre === undefined) {
      this.#warn(
        "its pre-tokenizer (tokenizer.ggml.pre) is missing, so text may be split differently than in " +
          "training; convert the model again for better answers",
      );
    }
    const addBos = this.#boolean("add_bos_token");
    if (addBos === true && bosId === undefined) {
      throw this.#fault(
        "key 'tokenizer.ggml.add_bos_token' is true, but the file defines no BOS token",
      );
    }
    return {
      model,
      pre,
      pieces,
      ids,
      kinds,
      scores: model === "llama" ? this.#scores(pieces) : [],
      merges,
      bosId,
      eosId,
      unknownId,
      endIds,
      addBos,
      addSpacePrefix: this.#boolean("add_space_prefix") ?? model === "llama",
      warnings: this.#warnings,
    };
  }

  #model(): "gpt2" | "llama" {
    const model = this.#string("model");
    if (model === undefined) throw this.#missing("model");
    if (model === "gpt2" || model === "llama") return model;
    throw new UnsupportedError(
      `Cannot read the tokenizer of ${this.fileName}: its kind is ${quote(model)}, ` +
        "but only 'gpt2' (byte-level BPE) and 'llama' (SentencePiece) are supported",
    );
  }

  #ids(pieces: readonly string[]): Map<string, number> {
    if (pieces.length === 0) throw this.#fault("key 'tokenizer.ggml.tokens' is an empty array");
    const ids = new Map<string, number>();
    for (const [id, piece] of pieces.entries()) {
      // Padded vocabularies have empty pieces, which no text is encoded as and which print nothing.
      if (piece === "") continue;
      const first = ids.get(piece);
      if (first !== undefined) {
        throw this.#fault(
          `key 'tokenizer.ggml.tokens' contains ${
            quote(piece)
          } twice, as tokens ${first} and ${id}`,
        );
      }
      ids.set(piece, id);
    }
    return ids;
  }

  /**
   * Reads the kinds of tokens. Without the key every token is normal, except SentencePiece's byte
   * tokens, which are recognized by their spelling.
   */
  #kinds(pieces: readonly string[], model: "gpt2" | "llama"): Uint8Array {
    const kinds = this.#array("token_type", KIND, pieces.length);
    if (kinds === undefined) {
      return Uint8Array.from(
        pieces,
        (piece) =>
          model === "llama" && BYTE_TOKEN.test(piece) ? TOKEN_KIND.byte : TOKEN_KIND.normal,
      );
    }
    const invalid = model === "llama"
      ? kinds.findIndex((kind, id) => kind === TOKEN_KIND.byte && !BYTE_TOKEN.test(pieces[id]!))
      : -1;
    if (invalid >= 0) {
      throw this.#fault(
        `key 'tokenizer.ggml.tokens' contains ${quote(pieces[invalid]!)} as byte token ` +
          `${invalid}, not one of '<0x00>' to '<0xFF>'`,
      );
    }
    return Uint8Array.from(kinds);
  }

  #scores(pieces: readonly string[]): readonly number[] {
    const scores = this.#array("scores", FINITE, pieces.length);
    if (scores === undefined) throw this.#missing("scores");
    return scores;
  }

  #merges(ids: ReadonlyMap<string, number>, pieces: readonly string[]): MergeList {
    const merges = this.#array("merges", STRING);
    if (merges === undefined) throw this.#missing("merges");
    const reader = new MergeReader(ids, pieces);
    const list = new Int32Array(3 * merges.length);
    for (const [i, merge] of merges.entries()) {
      // The search starts at 1, because the first token may itself begin with a space.
      const space = merge.indexOf(" ", 1);
      try {
        if (space < 0) throw new RangeError("it is not two tokens separated by a space");
        list.set(reader.read(merge.slice(0, space), merge.slice(space + 1)), 3 * i);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw this.#fault(
          `key 'tokenizer.ggml.merges' contains ${quote(merge)} at index ${i}: ${error.message}`,
        );
      }
    }
    return list;
  }

  #id(key: string, pieces: readonly string[]): number | undefined {
    const value = this.metadata.get(`tokenizer.ggml.${key}`);
    if (value === undefined) return undefined;
    const isWhole = typeof value === "bigint" || Number.isInteger(value);
    if (isWhole && Number(value) in pieces) return Number(value);
    const what =
      `key 'tokenizer.ggml.${key}' is ${shown(value)}, not one of the ${pieces.length} ` +
      plural(pieces.length, "token");
    if (!isWhole) throw this.#fault(what);
    // As llama.cpp does: converters write 2^32 - 1 for a token that does not exist.
    this.#warn(`${what}; the key is ignored`);
    return undefined;
  }

  #string(key: string): string | undefined {
    const value = this.metadata.get(`tokenizer.ggml.${key}`);
    if (value === undefined || typeof value === "string") return value;
    throw this.#fault(`key 'tokenizer.ggml.${key}' is ${shown(value)}, not a string`);
  }

  #boolean(key: string): boolean | undefined {
    const value = this.metadata.get(`tokenizer.ggml.${key}`);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#fault(`key 'tokenizer.ggml.${key}' is ${shown(value)}, not a boolean`);
  }

  #array<T extends MetadataValue>(
    key: string,
    element: ElementType<T>,
    length?: number,
  ): readonly T[] | undefined {
    const values = this.metadata.get(`tokenizer.ggml.${key}`);
    if (values === undefined) return undefined;
    if (!Array.isArray(values)) {
      throw this.#fault(`key 'tokenizer.ggml.${key}' is ${shown(values)}, not an array`);
    }
    if (length !== undefined && values.length !== length) {
      throw this.#fault(
        `key 'tokenizer.ggml.${key}' has ${values.length} ${
          plural(values.length, "value")
        } for ${length} ${plural(length, "token")}`,
      );
    }
    const invalid = values.findIndex((value) => !element.is(value));
    if (invalid >= 0) {
      throw this.#fault(
        `key 'tokenizer.ggml.${key}' contains ${
          shown(values[invalid])
        } at index ${invalid}, not ${element.name}`,
      );
    }
    return values;
  }

  #warn(what: string): void {
    this.#warnings.push(`In the tokenizer of ${this.fileName}: ${what}`);
  }

  #missing(key: string): ModelFormatError {
    return this.#fault(`key 'tokenizer.ggml.${key}' is missing`);
  }

  #fault(what: string): ModelFormatError {
    return new ModelFormatError(`Cannot read the tokenizer of ${this.fileName}: ${what}`);
  }
}

/** The type that the elements of an array must have. */
interface ElementType<T extends MetadataValue> {
  readonly name: string;
  is(value: MetadataValue): value is T;
}

const STRING: ElementType<string> = {
  name: "a string",
  is: (value): value is string => typeof value === "string",
};

const FINITE: ElementType<number> = {
  name: "a finite number",
  is: (value): value is number => Number.isFinite(value),
};

const KIND: ElementType<number> = {
  name: "a token type (0 to 6)",
  is: (value): value is number =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 6,
};

function shown(value: MetadataValue): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "string" ? quote(value) : String(value);
}
