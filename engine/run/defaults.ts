/** What a request gets that asks for nothing else, from the library as on the command line. */

import type { SamplingOptions } from "./runner.ts";

/** Tokens of an answer at most. */
export const DEFAULT_MAX_TOKENS = 512;

/** How tokens are chosen, as llama.cpp does by default; the seed is drawn anew for each request. */
export const DEFAULT_SAMPLING: Omit<
  SamplingOptions,
  "seed" | "logitBias" | "repeatWindow"
> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
};

/** `options` with the defaults for what it leaves out. */
export function completeSampling(options: Partial<SamplingOptions> = {}): SamplingOptions {
  const { logitBias, repeatWindow } = options;
  return {
    temperature: options.temperature ?? DEFAULT_SAMPLING.temperature,
    topK: options.topK ?? DEFAULT_SAMPLING.topK,
    topP: options.topP ?? DEFAULT_SAMPLING.topP,
    minP: options.minP ?? DEFAULT_SAMPLING.minP,
    repeatPenalty: options.repeatPenalty ?? DEFAULT_SAMPLING.repeatPenalty,
    ...(repeatWindow !== undefined && { repeatWindow }),
    ...(logitBias !== undefined && { logitBias }),
    seed: options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}
