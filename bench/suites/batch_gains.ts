/** What requests at once gain in decoding, against what the matrix products of their steps allow. */

import type { Bench } from "../harness.ts";
import { isProduct } from "../kernel_costs.ts";
import { kernelSteps } from "../kernel_steps.ts";
import { type Cell, measured, value } from "../report.ts";
import { summarize } from "../stats.ts";
import type { Serving } from "../target.ts";
import { decodeStepTimes } from "../timings.ts";

// Long prompts would take the time that the decode steps are to have.
const MOST_PROMPT_TOKENS = 16;
// Profiling times kernels in every fourth submit that decodes, each of up to four steps.
const LEAST_TOKENS = 17;

/** Times of decode steps of a number of requests, ms: one sample a repetition. */
interface StepTimes {
  readonly requests: number;
  readonly steps: readonly number[];
  readonly products: readonly number[];
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
  const [one] = all;
  // Of the same repetition, so that what changes on the machine changes for both.
  const gain = (key: "steps" | "products", own: StepTimes) =>
    summarize(own[key].map((ms, i) => own.requests * one![key][i]! / ms)).median;
  for (const own of all) {
    const { requests, steps, products } = own;
    const speedup = gain("steps", own);
    const cells: Cell[] = ["not measured: no timestamps", "-", "-"];
    if (products.length > 0) {
      const allowed = gain("products", own);
      cells.splice(
        0,
        3,
        measured(products, "ms"),
        value(allowed, "x"),
        value(100 * speedup / allowed, "%"),
      );
    }
    table.row(
      value(requests, ""),
      bench.measure(
        `decode of ${requests} at once`,
        steps.map((ms) => 1000 * requests / ms),
        "tok/s",
        bench.limit(requests, MOST_PROMPT_TOKENS),
      ),
      value(speedup, "x"),
      ...cells,
    );
  }
  table.say(
    "Steps in which all requests decode, by the host's clock; their matrix products by their share of a step, which profiled runs give. The speedup that these allow is N times their time for one request over that for N.",
  );
}

async function measure(bench: Bench, counts: readonly number[]): Promise<StepTimes[]> {
  const { target, run } = bench;
  const most = counts.at(-1)!;
  // All prompts enter in one step, so that all requests decode from the next one on.
  const together = Math.floor(target.limits.maxBatchTokens / most);
  const prompts = bench.prompts(most, Math.min(run.promptTokens, MOST_PROMPT_TOKENS, together));
  const all = counts.map((requests) => ({
    requests,
    plain: [] as Serving[],
    profiled: [] as Serving[],
  }));
  const ways = target.hasTimestamps ? [false, true] : [false];
  for (let i = -run.warmup; i < run.repetitions; i++) {
    for (const profile of ways) {
      for (const { requests, plain, profiled } of all) {
        bench.step(`${requests} at once, ${i < 0 ? "warm-up" : `${i + 1} of ${run.repetitions}`}`);
        const own = bench.requests(
          prompts.slice(0, requests),
          Math.max(run.maxTokens, LEAST_TOKENS),
        );
        const serving = await target.serve(own, { profile });
        if (i < 0) continue;
        bench.remember(`${requests} at once`, own, serving.requests);
        (profile ? profiled : plain).push(serving);
      }
    }
  }
  return all.map(({ requests, plain, profiled }) => {
    const steps = plain.map((serving) => summarize(decodeStepTimes(serving, requests)).median);
    const share = kernelSteps(profiled).share(isProduct);
    return {
      requests,
      steps,
      products: steps.flatMap((ms) => share === undefined ? [] : ms * share),
    };
  });
}
