/** Tokens that end an answer, found by their spelling. */

import type { MergeList } from "./bpe.ts";
import { TOKEN_KIND } from "./vocabulary.ts";

// Files seldom name all that ends an answer, so llama.cpp goes by spelling, and so does this.
// Source: special_eog_ids in llama.cpp, src/llama-vocab.cpp.
const END_TOKENS: readonly string[] = [
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<eos>",
  "</s>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "<｜end▁of▁sentence｜>",
  "<|fim_pad|>",
  "<|fim_repo|>",
  "<|repo_name|>",
  "<|file_sep|>",
];

/**
 * The tokens that end generation by their spelling. A normal token that merges make is text:
 * Qwen's "</s>" ends a strikethrough in HTML.
 */
export function namedEnds(
  ids: ReadonlyMap<string, number>,
  kinds: Uint8Array,
  merges: MergeList,
): Set<number> {
  const ends = new Set(END_TOKENS.flatMap((text) => ids.get(text) ?? []));
  for (let i = 2; i < merges.length; i += 3) {
    if (kinds[merges[i]!] === TOKEN_KIND.normal) ends.delete(merges[i]!);
  }
  return ends;
}

/**
 * Whether a token that the file names as BOS or as an end is none of the text by its spelling. One
 * spelled like a word stays text, as in llama.cpp: taken for a control token it would be missing
 * where a user's words need it.
 */
export function isSpelledAsControl(piece: string): boolean {
  return END_TOKENS.includes(piece) || /^[<[].+[>\]]$/s.test(piece);
}
