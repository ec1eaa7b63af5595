/** Requests that are sampled with the default options of `generate`. */

import { DEFAULT_SAMPLING } from "../harness/sampling.ts";
import type { Harness } from "../harness/harness.ts";
import type { RunOptions, Settings } from "../report/report.ts";
import type { BenchRequest } from "../targets/target.ts";

/** Setting of results for requests with default sampling, if the other requests are greedy. */
export const SAMPLED: Settings = { sampling: "default" };

/** Requests with default sampling; none if the run's own requests are sampled. */
export function sampledAsUsual(
  harness: Harness,
  prompts: readonly (readonly number[])[],
): [] | [BenchRequest[]] {
  const { sampling, seed, maxTokens } = harness.runOptions;
  if (sampling.temperature > 0) return [];
  return [harness.requests(prompts, maxTokens, { ...DEFAULT_SAMPLING, seed })];
}

/** Describes the sampling in a sentence. */
export function describeSampling({ runOptions: { sampling } }: Harness): string {
  return sampling.temperature > 0
    ? `All requests are sampled: ${options(sampling)}.`
    : `Greedy, except where marked as sampled: ${options(DEFAULT_SAMPLING)}.`;
}

function options({ temperature, topK, topP, minP }: RunOptions["sampling"]): string {
  return `temperature ${temperature}, top-k ${topK}, top-p ${topP}, min-p ${minP}`;
}
