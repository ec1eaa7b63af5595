/** What a tokenizer is made of, whatever file it comes from. */

import type { BpeModel } from "./bpe.ts";
import type { TokenSearch } from "./special_tokens.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A normalizer or pre-tokenizer as tokenizer.json describes it, for `@huggingface/tokenizers`. */
export type TextRule = Readonly<Record<string, unknown>>;

/** How an added token is found. */
export interface AddedToken extends TokenSearch {
  /** It is looked for in the normalized text, and normalized itself. */
  readonly normalized?: boolean;
}

export interface TokenizerParts {
  readonly vocabulary: Vocabulary;
  readonly model: BpeModel;
  readonly normalizer: TextRule | null;
  readonly preTokenizer: TextRule | null;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Every token that ends generation. */
  readonly endIds: ReadonlySet<number>;
  readonly addBos: boolean;
  /** By id, for those that are not found wherever they are spelled. */
  readonly addedTokens?: ReadonlyMap<number, AddedToken>;
  /** What a user should know of the file, in a line each. */
  readonly warnings?: readonly string[];
  /** Encoding puts a space before the text, so decoding takes it away. */
  readonly spacePrefix: boolean;
}
