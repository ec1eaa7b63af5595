/** Builds the parts of a tokenizer from Hugging Face's tokenizer.json. */

import { ModelFormatError, UnsupportedError } from "../errors.ts";
import { printable, quote } from "../files/quote.ts";
import { BpeModel, type MergeList, MergeReader, MergeTable } from "./bpe.ts";
import { checkRules } from "./check_rules.ts";
import { isSpelledAsControl, namedEnds } from "./end_tokens.ts";
import { byteTokenIds } from "./sentencepiece.ts";
import type { AddedToken, TextRule, TokenizerParts } from "./tokenizer_parts.ts";
import { BYTE_TOKEN, TOKEN_KIND, Vocabulary } from "./vocabulary.ts";

/** Longest added token. At each position of a text as many characters may be compared. */
const MAX_ADDED_LENGTH = 128;

type Json = Readonly<Record<string, unknown>>;

/** The parts of a checkpoint's files that describe its tokenizer. */
export interface TokenizerFiles {
  /** The content of tokenizer.json. */
  readonly json: unknown;
  /** The content of tokenizer_config.json: `bos_token`, `eos_token`, `add_bos_token`. */
  readonly config: unknown;
  /** `eos_token_id` of generation_config.json or config.json. */
  readonly endIds: readonly number[];
}

/** Reads a tokenizer whose model type is BPE, byte-level or with SentencePiece's spelling. */
export function jsonParts(
  { json, config, endIds }: TokenizerFiles,
  fileName: string,
): TokenizerParts {
  return new TokenizerReader(object(json), object(config), fileName).read(endIds);
}

class TokenizerReader {
  readonly model: Json;
  readonly ids = new Map<string, number>();
  readonly added = new Map<number, AddedToken>();

  constructor(readonly json: Json, readonly config: Json, readonly fileName: string) {
    this.model = object(json.model);
  }

  read(endIds: readonly number[]): TokenizerParts {
    this.#checkModel();
    const byteFallback = this.model.byte_fallback === true;
    const kinds = this.#kinds(byteFallback);
    const pieces = new Array<string>(kinds.length).fill("");
    for (const [piece, id] of this.ids) {
      const other = pieces[id]!;
      if (other !== "") {
        throw this.#fault(`tokens ${quote(other)} and ${quote(piece)} share id ${id}`);
      }
      pieces[id] = piece;
    }
    const merges = this.#merges(pieces);
    const eosId = this.#named("eos_token");
    const ends = namedEnds(this.ids, kinds, merges);
    for (const id of [...endIds, ...(eosId === undefined ? [] : [eosId])]) {
      if (!(id in pieces)) {
        throw this.#fault(
          `end token ${id} is not in the vocabulary of ${pieces.length}`,
        );
      }
      ends.add(id);
    }
    for (const id of ends) if (isSpelledAsControl(pieces[id]!)) kinds[id] = TOKEN_KIND.control;
    const unknownId = this.ids.get(String(this.model.unk_token));
    // A merge to a control token would create it from a user's words.
    const isText = (id: number) => kinds[id] !== TOKEN_KIND.control;
    const textIds = new Map([...this.ids].filter(([, id]) => kinds[id] === TOKEN_KIND.normal));
    const byteIds = byteFallback ? this.#byteIds() : undefined;
    const spelling = mentions(this.json.decoder, "ByteLevel") ? "byte-level" : "sentencepiece";
    return {
      vocabulary: new Vocabulary(pieces, kinds, spelling),
      model: new BpeModel(textIds, MergeTable.inOrder(merges, isText), {
        ignoreMerges: this.model.ignore_merges === true,
        ...(byteIds && { byteIds }),
        ...(unknownId !== undefined && { unknownId }),
      }),
      normalizer: checkedRule(this.json.normalizer),
      preTokenizer: checkedRule(this.json.pre_tokenizer),
      bosId: this.#named("bos_token"),
      eosId,
      endIds: ends,
      addBos: this.#addsBos(),
      addedTokens: this.added,
      spacePrefix: spelling === "sentencepiece" && this.#prependsSpace(),
    };
  }

  #byteIds(): number[] | undefined {
    try {
      return byteTokenIds(this.ids);
    } catch (error) {
      throw this.#fault((error as RangeError).message);
    }
  }

  #checkModel(): void {
    const { type, continuing_subword_prefix, end_of_word_suffix } = this.model;
    const affix = continuing_subword_prefix || end_of_word_suffix;
    if (type === "BPE" && !affix) return;
    throw new UnsupportedError(
      `Cannot read the tokenizer of ${this.fileName}: its model is ${quote(String(type))}` +
        `${
          affix ? ` with the affix ${quote(String(affix))}` : ""
        }, but only plain 'BPE' is supported`,
    );
  }

  /**
   * Fills `ids` and `added` from the vocabulary and the added tokens. Returns a kind for each id.
   */
  #kinds(byteFallback: boolean): Uint8Array {
    const added = new Map<number, number>();
    for (const token of list(this.json.added_tokens).map(object)) {
      const { content, id, special } = token;
      if (typeof content !== "string" || content === "") {
        throw this.#fault(`added token ${id} has no content`);
      }
      if (content.length > MAX_ADDED_LENGTH) {
        throw this.#fault(
          `added token ${id} has ${content.length} characters; the limit is ${MAX_ADDED_LENGTH}`,
        );
      }
      this.#add(content, id);
      added.set(Number(id), special === true ? TOKEN_KIND.control : TOKEN_KIND.userDefined);
      this.added.set(Number(id), {
        lstrip: token.lstrip === true,
        rstrip: token.rstrip === true,
        singleWord: token.single_word === true,
        normalized: token.normalized === true,
      });
    }
    for (const [piece, id] of Object.entries(object(this.model.vocab))) this.#add(piece, id);
    const last = [...this.ids.values()].reduce((a, b) => Math.max(a, b), -1);
    if (last < 0) throw this.#fault("it has no tokens");
    // Ids between others may be unused.
    const kinds = new Uint8Array(last + 1).fill(TOKEN_KIND.unused);
    for (const [piece, id] of this.ids) {
      const isByte = byteFallback && BYTE_TOKEN.test(piece);
      kinds[id] = added.get(id) ?? (isByte ? TOKEN_KIND.byte : TOKEN_KIND.normal);
    }
    return kinds;
  }

  #add(piece: string, id: unknown): void {
    // Larger ids would only cause a huge table of unused ids.
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 22) {
      throw this.#fault(`token ${quote(piece)} has the invalid id ${printable(String(id))}`);
    }
    const known = this.ids.get(piece);
    if (known !== undefined && known !== id) {
      throw this.#fault(`token ${quote(piece)} has two ids, ${known} and ${id}`);
    }
    this.ids.set(piece, id);
  }

  #merges(pieces: readonly string[]): MergeList {
    const reader = new MergeReader(this.ids, pieces);
    const merges = list(this.model.merges);
    const read = new Int32Array(3 * merges.length);
    for (const [i, merge] of merges.entries()) {
      const [first, second, ...rest] = Array.isArray(merge) ? merge : String(merge).split(" ");
      try {
        if (typeof first !== "string" || typeof second !== "string" || rest.length > 0) {
          throw new RangeError("it does not have two tokens");
        }
        read.set(reader.read(first, second), 3 * i);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw this.#fault(`merge ${i} ${quote(String(merge))}: ${error.message}`);
      }
    }
    return read;
  }

  /** Returns the id of a token that tokenizer_config.json names as a string or as `{ content }`. */
  #named(key: string): number | undefined {
    const value = this.config[key];
    const text = typeof value === "string" ? value : object(value).content;
    return typeof text === "string" ? this.ids.get(text) : undefined;
  }

  /** Whether BOS is added. Newer files only show it in the template of their post-processor. */
  #addsBos(): boolean {
    const { add_bos_token } = this.config;
    if (typeof add_bos_token === "boolean") return add_bos_token;
    const post = object(this.json.post_processor);
    const templates = [post, ...list(post.processors).map(object)];
    return templates.some((item) => "SpecialToken" in object(list(item.single)[0]));
  }

  #prependsSpace(): boolean {
    return mentions(this.json.normalizer, "Prepend") ||
      (mentions(this.json.pre_tokenizer, "Metaspace") &&
        !mentions(this.json.pre_tokenizer, "never"));
  }

  #fault(what: string): ModelFormatError {
    return new ModelFormatError(`Cannot read the tokenizer of ${this.fileName}: ${what}`);
  }
}

function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Json : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function checkedRule(value: unknown): TextRule | null {
  const rule = typeof value === "object" && value !== null ? value as TextRule : null;
  checkRules(rule);
  return rule;
}

/** Whether the rule, or a rule within it, has this string as a value. */
function mentions(value: unknown, text: string): boolean {
  if (typeof value !== "object" || value === null) return value === text;
  return Object.values(value).some((inner) => mentions(inner, text));
}
