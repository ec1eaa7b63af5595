/** The parts of a tokenizer, which are the same for both file formats. */

import type { BpeModel } from "./bpe.ts";
import type { TokenSearch } from "./special_tokens.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A normalizer or pre-tokenizer as tokenizer.json describes it, for `@huggingface/tokenizers`. */
export type TextRule = Readonly<Record<string, unknown>>;

/** How an added token is found. */
export interface AddedToken extends TokenSearch {
  /** Whether the token is normalized itself, and searched for in the normalized text. */
  readonly normalized?: boolean;
}

export interface TokenizerParts {
  readonly vocabulary: Vocabulary;
  readonly model: BpeModel;
  readonly normalizer: TextRule | null;
  readonly preTokenizer: TextRule | null;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** All tokens that end generation. */
  readonly endIds: ReadonlySet<number>;
  readonly addBos: boolean;
  /** Search rules of added tokens, by id. */
  readonly addedTokens?: ReadonlyMap<number, AddedToken>;
  /** Warnings about the file for its user, one line each. */
  readonly warnings?: readonly string[];
  /** Whether encoding adds a space before the text, which decoding removes. */
  readonly spacePrefix: boolean;
}
