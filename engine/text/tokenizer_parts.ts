/** What a tokenizer is made of, whatever file it comes from. */

import type { BpeModel } from "./bpe.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A normalizer or pre-tokenizer as tokenizer.json describes it, for `@huggingface/tokenizers`. */
export type TextRule = Readonly<Record<string, unknown>>;

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
  /** Encoding puts a space before the text, so decoding takes it away. */
  readonly spacePrefix: boolean;
}
