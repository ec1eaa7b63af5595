/** Derives merges, byte tokens and a rule to split text from a SentencePiece vocabulary. */

import { type Merge, MergeTable } from "./bpe.ts";
import { isolate } from "./pre_tokenizers.ts";
import type { TextRule } from "./tokenizer_parts.ts";
import { SPM_SPACE } from "./vocabulary.ts";

/**
 * Largest sum of the squares of token lengths. Llama's 32,000 tokens have 2 million, Gemma's 16.
 */
const MAX_SPLIT_WORK = 300_000_000;

/**
 * Returns the merges of a vocabulary. SentencePiece merges the two neighbours that form the token
 * with the highest score. Each split of a token into two tokens is therefore a merge, ranked by the
 * token's score. Tokens with equal scores share a rank, and the leftmost pair merges first.
 *
 * @param ids tokens that may take part in merges
 * @throws {RangeError} if the tokens are so long that this would take too much time.
 */
export function mergesByScore(
  ids: ReadonlyMap<string, number>,
  scores: readonly number[],
): MergeTable {
  let work = 0;
  for (const piece of ids.keys()) work += piece.length ** 2;
  if (work > MAX_SPLIT_WORK) {
    throw new RangeError(
      `the sum of the squared token lengths is ${work}, above the limit of ${MAX_SPLIT_WORK}`,
    );
  }
  const merges: Merge[] = [];
  for (const [piece, result] of ids) {
    for (let cut = 1; cut < piece.length; cut++) {
      const left = ids.get(piece.slice(0, cut));
      if (left === undefined) continue;
      const right = ids.get(piece.slice(cut));
      if (right !== undefined) merges.push([left, right, result]);
    }
  }
  const order = [...new Set(merges.map(([, , result]) => scores[result]!))].sort((a, b) => b - a);
  const ranks = new Map(order.map((score, rank) => [score, rank]));
  const table = new MergeTable(merges.length);
  for (const merge of merges) table.add(merge, ranks.get(scores[merge[2]]!)!);
  return table;
}

/**
 * Returns the ids of `<0x00>` … `<0xFF>`, or undefined if the vocabulary has none of them.
 *
 * @throws {RangeError} if it has only some of them, because text would be changed or lost.
 */
export function byteTokenIds(ids: ReadonlyMap<string, number>): number[] | undefined {
  const pieces = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const found = pieces.flatMap((piece) => ids.get(piece) ?? []);
  if (found.length === 256) return found;
  if (found.length === 0) return undefined;
  const missing = pieces.find((piece) => !ids.has(piece))!;
  throw new RangeError(
    `it has only ${found.length} of the 256 byte tokens: '${missing}' is missing`,
  );
}

/**
 * Returns a rule that splits text into words, which can then be cached. No token may extend across
 * a split, so there is no rule for a vocabulary in which a token contains a space after another
 * character.
 */
export function wordSplit(ids: ReadonlyMap<string, number>): TextRule | null {
  const inner = new RegExp(`[^${SPM_SPACE}]${SPM_SPACE}`);
  for (const piece of ids.keys()) if (inner.test(piece)) return null;
  return isolate(`${SPM_SPACE}+[^${SPM_SPACE}]*`);
}
