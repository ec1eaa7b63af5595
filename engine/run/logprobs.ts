/** Log-probabilities of a token and of its alternatives. */

/**
 * Natural logarithms of the model's own probabilities: before penalties, temperature, top-k, top-p
 * and min-p.
 */
export interface TokenLogprobs {
  /** Log-probability of the token itself. */
  readonly logprob: number;
  /** The most probable tokens, best first; equally probable ones in the order of their ids. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/**
 * Returns the log-probabilities of `token` and of the most probable tokens.
 *
 * @param logits one row, of the whole vocabulary
 * @param top number of alternatives to list
 */
export function tokenLogprobs(logits: Float32Array, token: number, top: number): TokenLogprobs {
  let max = -Infinity;
  for (const logit of logits) if (logit > max) max = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  const logNorm = max + Math.log(sum);

  const best: number[] = []; // ids, best first
  for (let id = 0; id < logits.length && top > 0; id++) {
    const logit = logits[id]!;
    if (best.length === top && logit <= logits[best[top - 1]!]!) continue;
    if (best.length === top) best.pop();
    let place = best.length;
    while (place > 0 && logits[best[place - 1]!]! < logit) place--;
    best.splice(place, 0, id);
  }
  return {
    logprob: logits[token]! - logNorm,
    top: best.map((id) => ({ id, logprob: logits[id]! - logNorm })),
  };
}
