/**
 * Computes the sampling options that depend on the tokens generated so far. All of them become
 * logit biases, which every backend supports.
 */

import { MOST_BIASES, type SamplingOptions } from "./runner.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Returns the sampling options for the sequence's next token. Stop tokens are banned until the
 * sequence has its minimum number of tokens. Presence and frequency penalties lower the logits of
 * generated tokens, as OpenAI defines them. If there are more such tokens than room for biases,
 * only the most recent ones are penalized.
 */
export function nextSampling(sequence: Sequence): SamplingOptions {
  const { sampling, stopIds, tokens, promptLength } = sequence;
  const banned = sequence.length < sequence.minLength ? stopIds : NONE;
  if (banned.size === 0 && !sequence.penalized) return sampling;
  const biases = new Map(sampling.logitBias);
  const { presencePenalty = 0, frequencyPenalty = 0 } = sequence.request;
  if (sequence.penalized) {
    for (const [id, count] of latestCounts(tokens.slice(promptLength))) {
      if (biases.size + banned.size >= MOST_BIASES && !biases.has(id)) break;
      biases.set(id, (biases.get(id) ?? 0) - presencePenalty - count * frequencyPenalty);
    }
  }
  for (const id of banned) biases.set(id, -Infinity);
  return { ...sampling, logitBias: biases };
}

const NONE: ReadonlySet<number> = new Set();

/** Returns how often each token occurs, ordered from the most recent token to the oldest. */
function latestCounts(tokens: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = tokens.length - 1; i >= 0; i--) {
    counts.set(tokens[i]!, (counts.get(tokens[i]!) ?? 0) + 1);
  }
  return counts;
}
