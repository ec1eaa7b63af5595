/** Default options of a request, for the library and the command line. */

import type { SamplingOptions } from "./runner.ts";

/** Maximum number of tokens of an answer. */
export const DEFAULT_MAX_TOKENS = 512;

/** Sampling options, as llama.cpp's defaults; each request gets a random seed. */
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

/** Returns `options` with defaults for those that are missing. */
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
