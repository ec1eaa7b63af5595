/** The operations of a request: the time of one call, and of all calls together. */

import type { Harness } from "../harness/harness.ts";
import { type KernelSteps, sumOf } from "../harness/kernel_steps.ts";
import { ttft } from "../harness/timings.ts";
import type { Metric } from "../report/metrics.ts";
import { text } from "../report/format.ts";
import type { Result } from "../report/report.ts";
import { medianOf, summarize } from "../report/stats.ts";
import type { Serving } from "../targets/target.ts";
import { SAMPLED } from "./sampled.ts";

/** Time of one call, number of calls, and share of the sum over a request. */
export const OPERATION_TIME: Metric = { id: "operation_time", unit: "ms" };
const OPERATION_CALLS: Metric = { id: "operation_calls", unit: "" };
const OPERATION_SHARE: Metric = { id: "operation_share", unit: "%" };

const SAMPLING = /^(sample_|logit_adjust)/;
// Calls of the tokenizer per sample, as one alone is too short for the clock.
const TOKENIZER_CALLS = 10;

/** The runs that the operations are measured from. */
export interface OperationRuns {
  readonly runs: readonly Serving[];
  /** Requests whose kernels are timed, sampled as the run says, and with the default sampling. */
  readonly timed: KernelSteps;
  readonly sampled: KernelSteps;
  /** ms of a decode step, one sample per repetition; and the decode throughput. */
  readonly steps: readonly number[];
  readonly decode: Result;
}

/** Adds the table. */
export async function operations(harness: Harness, measured: OperationRuns): Promise<void> {
  const { runs, timed, sampled, steps, decode } = measured;
  const { maxTokens } = harness.runOptions;
  const served = runs.map((serving) => serving.requests[0]!);
  const [tokenization, detokenization] = await tokenizer(harness, served[0]!.ids);
  const sampling = choosing(timed);
  const own = sampling.length > 0 ? medianOf(sampling) : 0;
  const rows: readonly (readonly [string, readonly number[], number])[] = [
    ["Decode forward", steps.map((step) => step - own), maxTokens - 1],
    ["Prefill", served.map((request) => ttft(request) - own), 1],
    ...(sampling.length > 0 ? [["Sampling", sampling, maxTokens] as const] : []),
    ["Tokenization", tokenization, 1],
    ["Detokenization", detokenization, maxTokens],
  ];
  const results = rows.map(([operation, samples, calls]) => {
    const at = harness.at({ operation: operation.toLowerCase() });
    const time = at.measure(OPERATION_TIME, samples);
    return { operation, at, time, calls, total: calls * time.value };
  });
  const whole = results.reduce((sum, { total }) => sum + total, 0);
  const table = harness.table(
    "Operations of one request",
    "Operation | Median (ms) | Calls | % of Total",
  );
  for (const { operation, at, time, calls, total } of results) {
    table.row(
      operation,
      time,
      at.value(OPERATION_CALLS, calls),
      at.value(OPERATION_SHARE, 100 * total / whole),
    );
  }
  const drawn = choosing(sampled);
  if (drawn.length > 0) {
    const at = harness.at({ operation: "sampling", ...SAMPLED });
    table.row("Sampling with default options", at.measure(OPERATION_TIME, drawn), "-", "-");
  }
  table.note(
    `**Decode throughput: ${text(decode)}**`,
    "Median is the time of one call: one decode step, prompt, sampled token, tokenized prompt or decoded token. % of total: calls times median, as a share of the sum.",
    sampling.length > 0
      ? "Sampling is the time of its kernels, measured on the device and subtracted from prefill and decode."
      : "Sampling is included in prefill and decode: the adapter has no timestamps to separate it.",
  );
}

/** ms to sample one token, one value per repetition; empty without timestamps. */
function choosing(timed: KernelSteps): number[] {
  return timed.steps.flatMap((steps) => {
    const times = steps.map(({ kernels }) => kernels.filter(({ name }) => SAMPLING.test(name)))
      .filter((kernels) => kernels.length > 0).map(sumOf);
    return times.length === 0 ? [] : [summarize(times).mean];
  });
}

/** Number of cases that measure the tokenizer: tokenizing and detokenizing. */
export const TOKENIZER_CASES = 2;

/** ms to tokenize the prompt, and to detokenize one token. */
async function tokenizer(
  harness: Harness,
  ids: readonly number[],
): Promise<[number[], number[]]> {
  const { target } = harness;
  const prompt = target.text.decode(harness.prompts(1)[0]!, false);
  const [tokenization = [], detokenization = []] = await harness.interleave(
    [
      { per: 1, work: () => void target.text.encode(prompt) },
      {
        per: ids.length,
        work: () => {
          const stream = target.text.stream();
          for (const id of ids) stream.push(id);
          stream.flush();
        },
      },
    ],
    ({ per }) => per === 1 ? "tokenizing" : "detokenizing",
    ({ per, work }) => {
      const start = target.now();
      for (let i = 0; i < TOKENIZER_CALLS; i++) work();
      return (target.now() - start) / TOKENIZER_CALLS / per;
    },
  );
  return [tokenization, detokenization];
}
