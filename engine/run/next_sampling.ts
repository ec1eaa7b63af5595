/**
 * How the next token of a sequence is sampled, where that depends on those generated so far. It is all
 * put into logit biases, which every backend has.
 */

import { MOST_BIASES, type SamplingOptions } from "./runner.ts";
import type { Sequence } from "./sequence.ts";

/**
 * The sampling of the sequence's next token: stop tokens are banned until it has its least number of
 * tokens; presence and frequency penalties lower the logits of tokens that were generated, as OpenAI
 * defines them. Where there are more of those than biases, the latest count.
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

/** How often each token occurs, the latest first. */
function latestCounts(tokens: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = tokens.length - 1; i >= 0; i--) {
    counts.set(tokens[i]!, (counts.get(tokens[i]!) ?? 0) + 1);
  }
  return counts;
}
