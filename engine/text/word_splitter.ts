/** Splits text into words with the pre-tokenizers of `@huggingface/tokenizers`. */

import { ruleForJavaScript } from "./expressions.ts";
import { TextRules } from "./packages.ts";
import type { TextRule } from "./tokenizer_parts.ts";

/**
 * Number of words that pass through all rules after the first at a time. The library takes some 300
 * bytes for a word between two rules: without this limit, a megabyte of digits took 290 MB.
 */
const WORDS_AT_ONCE = 16_384;

/** Returns the library's normalizer and pre-tokenizer for these rules. */
export function textRules(normalizer: TextRule | null, preTokenizer: TextRule | null): TextRules {
  return new TextRules({
    normalizer: ruleForJavaScript(normalizer),
    pre_tokenizer: ruleForJavaScript(preTokenizer),
    // Only its normalizer and pre-tokenizer are used.
    model: { type: "BPE", vocab: {}, merges: [], ignore_merges: false },
    post_processor: null,
    decoder: null,
    added_tokens: [],
  }, {});
}

/** The pre-tokenizer of a model. */
export class WordSplitter {
  /** The first rule, and a sequence of the others: each rule splits the words of the one before. */
  readonly #first: TextRules["pre_tokenizer"];
  readonly #others: TextRules["pre_tokenizer"];

  constructor(rule: TextRule | null) {
    const [first = null, ...others] = sequenceOf(rule);
    this.#first = textRules(null, first).pre_tokenizer;
    const sequence = others.length === 0 ? null : { type: "Sequence", pretokenizers: others };
    this.#others = textRules(null, sequence).pre_tokenizer;
  }

  /**
   * Returns the words of the text, some at a time.
   *
   * @param section position of the text among the parts between special tokens, from 0
   */
  *words(text: string, section: number): Generator<readonly string[]> {
    const options = { section_index: section };
    const words = this.#first?.pre_tokenize(text, options) ?? [text];
    for (let start = 0; start < words.length; start += WORDS_AT_ONCE) {
      const some = words.slice(start, start + WORDS_AT_ONCE);
      yield this.#others?.pre_tokenize(some, options) ?? some;
    }
  }
}

function sequenceOf(rule: TextRule | null): readonly (TextRule | null)[] {
  const parts = (rule as { readonly pretokenizers?: unknown } | null)?.pretokenizers;
  return Array.isArray(parts) ? parts : [rule];
}
