/**
 * Checks each kernel against the reference, compares its speed with the device's limits, and
 * measures what batches gain.
 */

import { type Harness, type Suite } from "../harness/harness.ts";
import type { KernelBench } from "../kernels/kernel_bench.ts";
import { namesKernels } from "../kernels/names.ts";
import { DECODE_THROUGHPUT, lines, type Metric } from "../report/metrics.ts";
import { medianOf, pairedRatios } from "../report/stats.ts";
import { batchCases, batchGains, batchTokens, MOST_PROMPT_TOKENS } from "./batch_gains.ts";
import { rates } from "./kernel_table.ts";

/**
 * The largest error, relative to the magnitude of the summed terms, and the error that is allowed.
 */
const KERNEL_ERROR: Metric = { id: "kernel_error", unit: "" };
const KERNEL_TOLERANCE: Metric = { id: "kernel_tolerance", unit: "" };
const KERNEL_CALL_TIME: Metric = { id: "kernel_call_time", unit: "us" };
/** Time of a call, and tokens per second, relative to a call for a single token. */
const KERNEL_TIME_RATIO: Metric = { id: "kernel_time_ratio", unit: "x" };
const KERNEL_GAIN: Metric = { id: "kernel_gain", unit: "x" };

/** Numbers of tokens per call: from one request to a small batch. */
const TOKENS = [1, 2, 3, 4, 5, 6, 7, 8];

export const kernels: Suite = {
  name: "kernels",
  summary: "correctness and speed of each kernel, and gain from batches",
  options: {
    only: {
      value: "<list>",
      summary: "only kernels with these words in their names, such as matmul/q4_1,attention",
      accepts: namesKernels,
      expected: "words such as matmul, experts, attention, sampling or a format, as in matmul/q4_1",
    },
    shape: {
      value: "<RxC>",
      summary: "rows and columns of the matrices",
      accepts: (text) => {
        const [, rows, columns] = /^(\d{1,6})x(\d{1,6})$/.exec(text) ?? [];
        return Number(rows) >= 1 && Number(columns) >= 32 && Number(columns) % 32 === 0;
      },
      expected: "ROWSxCOLUMNS with columns in multiples of 32, as in 1536x768",
    },
  },
  needs: ({ concurrency, promptTokens, maxTokens }) => ({
    sequences: Math.max(...concurrency),
    tokens: Math.max(promptTokens, MOST_PROMPT_TOKENS) + batchTokens(maxTokens),
  }),
  async run(harness) {
    const { only, shape } = harness.runOptions.suiteOptions;
    const own = await harness.target.kernels({ only, shape });
    if (own === null) {
      harness.table("Kernels", "Kernel").note("Not measured: there is no device.");
      return;
    }
    harness.plan(own.cases.length + batchCases(harness));
    try {
      await verify(harness, own);
      await time(harness, own);
    } finally {
      own.close();
    }
    await batchGains(harness);
  },
  charts: [
    {
      kind: "roofline",
      title: "Roofline with each kernel for one token",
      metric: "kernel_rate",
      by: "kernel",
      series: "shape",
      where: { tokens: 1 },
    },
    lines("Decoding by requests at once", DECODE_THROUGHPUT, {
      by: "requests",
      xAxis: "requests at once",
      ideal: true,
    }),
  ],
};

async function verify(harness: Harness, own: KernelBench): Promise<void> {
  const table = harness.table(
    "Kernels against the reference",
    "Kernel | Error | Tolerance | Status",
  );
  harness.step("comparing with the reference");
  const wrong: string[] = [];
  let count = 0;
  for await (const { name, passed, error, tolerance, message } of own.verify()) {
    const at = harness.at({ kernel: name });
    at.value(KERNEL_ERROR, error);
    at.value(KERNEL_TOLERANCE, tolerance);
    table.row(name, error.toExponential(1), tolerance.toExponential(0), passed ? "ok" : "FAILED");
    if (!passed) wrong.push(message === undefined ? name : `${name}: ${message}`);
    count++;
    harness.step(`comparing with the reference, ${name} done`);
  }
  const detail = count === 0
    ? "no kernel was checked: the groups of the formats do not fit the columns of this shape"
    : wrong.length === 0
    ? `${count} kernel families`
    : wrong.join("; ");
  harness.check("kernels agree with the reference", count > 0 && wrong.length === 0, detail);
  table.note(
    "The largest error is relative to the magnitude of the summed terms; for sampling, it is the share of wrong tokens.",
  );
}

async function time(harness: Harness, own: KernelBench): Promise<void> {
  const table = harness.table(
    "Kernels by the number of tokens",
    "Kernel | Shape | Tokens | Time (µs) | GFLOPS | GB/s | % of limit | Time vs 1 token | Gain",
  );
  const { repetitions, warmup } = harness.runOptions;
  for (const one of own.cases) {
    const { kernel, shape } = one;
    harness.begin(`timing ${kernel}`);
    const all = await one.time(TOKENS, warmup === "steady" ? 1 : Math.max(1, warmup), repetitions);
    for (const [i, tokens] of TOKENS.entries()) {
      const samples = all[i]!;
      const at = harness.at({ kernel, shape, tokens });
      const cost = one.cost(tokens);
      table.row(
        kernel,
        shape,
        tokens,
        at.measure(KERNEL_CALL_TIME, samples.map((ms) => ms * 1000)),
        ...rates(at, harness.report.limits, { cost, milliseconds: medianOf(samples) }),
        at.ratio(KERNEL_TIME_RATIO, pairedRatios(samples, all[0]!)),
        at.ratio(KERNEL_GAIN, pairedRatios(all[0]!, samples, tokens)),
      );
    }
  }
  table.note(
    "The time of one call among many of its kind, by the device's clock if it has one. The matrices are copies, used in turn as in a model: they stay in a cache only if it can hold all of them. The other kernels use data that fit in caches. Time vs 1 token and gain are medians of the ratios within a repetition, which may differ from the ratio of the medians in the table. Gain: tokens per second, relative to one token at a time.",
  );
}
