/** What requests at once gain in decoding, against what the matrix products of their steps allow. */

import type { Bench } from "../harness/harness.ts";
import { isProduct } from "../kernels/costs.ts";
import { kernelSteps } from "../kernels/steps.ts";
import { type Cell, value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import { decodeStepTimes } from "../harness/timings.ts";

// Long prompts would take the time that the decode steps are to have.
const MOST_PROMPT_TOKENS = 16;
// Profiling times kernels in every fourth submit that decodes, each of up to four steps.
const LEAST_TOKENS = 17;

/** Decode steps of a number of requests at once. */
interface Steps {
  readonly requests: number;
  /** ms, one sample a repetition. */
  readonly times: readonly number[];
  /** The share that their matrix products have of them; undefined without timestamps. */
  readonly share: number | undefined;
}

/** Adds the table. All numbers of requests take turns, plain and profiled. */
export async function batchGains(bench: Bench): Promise<void> {
  // More than can decode in one step never do.
  const counts = [...new Set([1, ...bench.run.concurrency])]
    .filter((count) => count <= bench.target.limits.maxBatchTokens)
    .sort((a, b) => a - b);
  const table = bench.table("Decode steps of several requests", [
    "Requests",
    ["Decode tok/s", "tok/s"],
    "Speedup",
    ["Matrix products of a step (ms)", "ms"],
    "Speedup they allow",
    "Reached",
  ]);
  const all = await measure(bench, counts);
  const one = all[0]!;
  for (const { requests, times, share } of all) {
    // Of the same repetition, so that what changes on the machine changes for both.
    const speedup = summarize(times.map((ms, i) => requests * one.times[i]! / ms)).median;
    const cells: Cell[] = share === undefined || one.share === undefined
      ? ["not measured: no timestamps", "-", "-"]
      : [
        value(share * summarize(times).median, "ms"),
        value(speedup * one.share / share, "x"),
        value(100 * share / one.share, "%"),
      ];
    table.row(
      value(requests, ""),
      bench.measure(
        `decode of ${requests} at once`,
        times.map((ms) => 1000 * requests / ms),
        "tok/s",
        bench.limit(requests, MOST_PROMPT_TOKENS, tokensOf(bench)),
      ),
      value(speedup, "x"),
      ...cells,
    );
  }
  table.say(
    "Steps in which all requests decode, by the host's clock; their matrix products by their share of a step, which profiled runs give. The speedup that these allow is N times their time for one request over that for N. Reached is so their share of a step of N requests over that of one: above 100 %, what is beside them (attention, sampling, the host) gained the more.",
  );
}

function tokensOf({ run }: Bench): number {
  return Math.max(run.maxTokens, LEAST_TOKENS);
}

async function measure(bench: Bench, counts: readonly number[]): Promise<Steps[]> {
  const { target, run } = bench;
  const most = counts.at(-1)!;
  // All prompts enter in one step, so that all requests decode from the next one on.
  const together = Math.floor(target.limits.maxBatchTokens / most);
  const prompts = bench.prompts(most, Math.min(run.promptTokens, MOST_PROMPT_TOKENS, together));
  const ways = (target.hasTimestamps ? [false, true] : [false])
    .flatMap((profile) => counts.map((requests) => ({ requests, profile })));
  const label = (requests: number) => `${requests} at once`;
  const servings = await bench.byTurns(
    ways,
    ({ requests }) => label(requests),
    async ({ requests, profile }, counts) => {
      const own = bench.requests(prompts.slice(0, requests), tokensOf(bench));
      const serving = await target.serve(own, { profile });
      if (counts) bench.remember(label(requests), own, serving.requests, serving.steps);
      return serving;
    },
  );
  return counts.map((requests, i) => ({
    requests,
    times: servings[i]!.map((serving) => summarize(decodeStepTimes(serving, requests)).median),
    share: kernelSteps(servings[counts.length + i] ?? []).share(isProduct),
  }));
}
