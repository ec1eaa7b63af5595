/**
 * Measures how much decoding gains from several requests at once, and compares this with the upper
 * bound that follows from the matrix products of the steps.
 */

import type { Harness } from "../harness/harness.ts";
import { kernelSteps } from "../harness/kernel_steps.ts";
import { decodeStepTimes } from "../harness/timings.ts";
import { isProduct } from "../kernels/costs.ts";
import { DECODE_THROUGHPUT, type Metric } from "../report/metrics.ts";
import { medianOf, pairedRatios } from "../report/stats.ts";

const DECODE_SPEEDUP: Metric = { id: "decode_speedup", unit: "x" };
/** Time of the matrix products of a decode step. */
const PRODUCT_TIME: Metric = { id: "product_time", unit: "ms" };
/**
 * Upper bound of the speedup, from the matrix products, and the measured speedup as a share of it.
 */
const ALLOWED_SPEEDUP: Metric = { id: "allowed_speedup", unit: "x" };
const REACHED_SPEEDUP: Metric = { id: "reached_speedup", unit: "%" };

/** Prompts are kept short, so that the time goes to decode steps. */
export const MOST_PROMPT_TOKENS = 16;
// The first token and one profiling cycle: four decode submits, which chain four steps each by
// default.
const LEAST_TOKENS = 17;

/** Tokens that each request generates. */
export function batchTokens(maxTokens: number): number {
  return Math.max(maxTokens, LEAST_TOKENS);
}

/** Decode steps in which `requests` requests decode at once. */
interface Steps {
  readonly requests: number;
  /** ms per step, one sample per repetition. */
  readonly times: readonly number[];
  /** Share of the matrix products in the time of a step; undefined without timestamps. */
  readonly share: number | undefined;
}

/** Number of cases that are measured for the table. */
export function batchCases(harness: Harness): number {
  return requestCounts(harness).length * (harness.target.hasTimestamps ? 2 : 1);
}

/** Numbers of requests to measure: at most as many as can decode in one step. */
function requestCounts({ runOptions: { concurrency }, target }: Harness): number[] {
  return [...new Set([1, ...concurrency])]
    .filter((count) => count <= target.limits.maxBatchTokens)
    .sort((a, b) => a - b);
}

/** Adds the table. All numbers of requests are interleaved, with and without profiling. */
export async function batchGains(harness: Harness): Promise<void> {
  const { maxTokens } = harness.runOptions;
  const table = harness.table(
    "Decode steps of several requests",
    "Requests | Decode tok/s | Speedup | Matrix products of a step (ms) | Upper bound | Reached",
  );
  const all = await measure(harness, requestCounts(harness));
  const one = all[0]!;
  for (const { requests, times, share } of all) {
    const at = harness.at({ requests });
    const speedup = at.ratio(DECODE_SPEEDUP, pairedRatios(one.times, times, requests));
    table.row(
      requests,
      at.measure(
        DECODE_THROUGHPUT,
        times.map((ms) => 1000 * requests / ms),
        harness.limit(requests, MOST_PROMPT_TOKENS, batchTokens(maxTokens)),
      ),
      speedup,
      ...(share === undefined || one.share === undefined
        ? [
          `not measured: ${harness.target.hasTimestamps ? "too few steps" : "no timestamps"}`,
          "-",
          "-",
        ]
        : [
          at.value(PRODUCT_TIME, share * medianOf(times)),
          at.value(ALLOWED_SPEEDUP, speedup.value * one.share / share),
          at.value(REACHED_SPEEDUP, 100 * share / one.share),
        ]),
    );
  }
  table.note(
    "Steps in which all requests decode, timed on the host. The time of the matrix products is their share of a step in profiled runs. The upper bound is N times their time for one request, divided by their time for N requests. Reached: the measured speedup as a share of this bound; above 100 %, the rest of the step (attention, sampling, the host) gained more than the matrix products.",
  );
}

async function measure(harness: Harness, counts: readonly number[]): Promise<Steps[]> {
  const { target, runOptions: { promptTokens, maxTokens } } = harness;
  const most = counts.at(-1)!;
  // All prompts are processed in one step, so that all requests decode from the next one on.
  const together = Math.floor(target.limits.maxBatchTokens / most);
  const prompts = harness.prompts(most, Math.min(promptTokens, MOST_PROMPT_TOKENS, together));
  const ways = (target.hasTimestamps ? [false, true] : [false])
    .flatMap((profile) => counts.map((requests) => ({ requests, profile })));
  const servings = await harness.interleave(
    ways,
    ({ requests }) => `${requests} at once`,
    ({ requests, profile }) => {
      const own = harness.requests(prompts.slice(0, requests), batchTokens(maxTokens));
      return harness.serve(own, { profile });
    },
  );
  return counts.map((requests, i) => ({
    requests,
    times: servings[i]!.map((serving) => medianOf(decodeStepTimes(serving, requests))),
    share: kernelSteps(servings[counts.length + i] ?? []).shareOf(isProduct),
  }));
}
