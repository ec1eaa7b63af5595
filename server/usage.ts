/** Token counts and times in responses. */

import type { Answer } from "../engine/run/answer.ts";

/** Returns OpenAI's `usage` of the answers, up to their current state. */
export function usageOf(answers: readonly Answer[]) {
  const sum = (count: (answer: Answer) => number) =>
    answers.reduce((all, answer) => all + count(answer), 0);
  const prompt = sum(({ promptIds }) => promptIds.length);
  const completion = sum(({ timings }) => timings.tokens.length);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(({ cachedTokens }) => cachedTokens) },
  };
}

/** Returns the times of an answer's phases, in ms; undefined before its first token. */
export function phasesOf({ timings: { submitted, started, tokens } }: Answer) {
  const [first] = tokens;
  if (started === undefined || first === undefined) return undefined;
  return {
    queued: started - submitted,
    prompt: first - started,
    predicted: tokens.at(-1)! - first,
    toFirst: first - submitted,
    total: tokens.at(-1)! - submitted,
  };
}

/**
 * Returns llama-server's `timings` of one answer. The time of the prompt ends with the first token.
 * The first token is included in the number of predicted tokens, but not in their time and rate.
 */
export function timingsOf(answer: Answer) {
  const phases = phasesOf(answer);
  if (phases === undefined) return undefined;
  const computed = answer.promptIds.length - answer.cachedTokens;
  const predicted = answer.timings.tokens.length;
  const decoded = predicted - 1;
  return {
    cache_n: answer.cachedTokens,
    prompt_n: computed,
    prompt_ms: phases.prompt,
    prompt_per_token_ms: phases.prompt / computed,
    prompt_per_second: 1000 * computed / phases.prompt,
    predicted_n: predicted,
    predicted_ms: phases.predicted,
    predicted_per_token_ms: decoded > 0 ? phases.predicted / decoded : 0,
    predicted_per_second: phases.predicted > 0 ? 1000 * decoded / phases.predicted : 0,
  };
}
