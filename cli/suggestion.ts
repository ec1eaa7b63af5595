/** What a misspelled word was meant to be. */

import { distance } from "fastest-levenshtein";

/**
 * The one of `known` that is nearest to `word`, if it is near enough: one edit for a short word, up to
 * two in five letters of a long one. A beginning that only one of them has counts as near.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const lower = word.toLowerCase();
  const all = [...known];
  let best: string | undefined;
  let least = Math.min(3, Math.max(1, Math.floor(0.4 * lower.length))) + 1;
  for (const candidate of all) {
    const edits = distance(lower, candidate.toLowerCase());
    if (edits < least) [best, least] = [candidate, edits];
  }
  if (best !== undefined || lower.length < 3) return best;
  const begun = all.filter((candidate) => candidate.toLowerCase().startsWith(lower));
  return begun.length === 1 ? begun[0] : undefined;
}
