/** Finds the tokens that end an answer by their spelling. */

import type { MergeList } from "./bpe.ts";
import { TOKEN_KIND } from "./vocabulary.ts";

// Files rarely list all tokens that end an answer. Like llama.cpp, tvllm therefore recognizes them
// by their spelling. Source: special_eog_ids in llama.cpp, src/llama-vocab.cpp.
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
 * Returns the tokens that end generation according to their spelling. A normal token that merges
 * produce is text: Qwen's "</s>" ends a strikethrough in HTML.
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
 * Whether the spelling of a BOS or end token shows that it is not ordinary text. A token spelled
 * like a word stays text, as in llama.cpp: as a control token it would be unavailable for users'
 * text.
 */
export function isSpelledAsControl(piece: string): boolean {
  return END_TOKENS.includes(piece) || /^[<[].+[>\]]$/s.test(piece);
}
