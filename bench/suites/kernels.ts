/** Each kernel against the reference and against the device's limits, and what batches gain. */

import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import type { KernelBench } from "../targets/target.ts";
import { batchGains } from "./batch_gains.ts";
import { rates } from "./kernel_table.ts";

/** Tokens at once: from one request to a small batch. */
const TOKENS = [1, 2, 3, 4, 5, 6, 7, 8];

export async function kernels(bench: Bench): Promise<void> {
  const own = await bench.target.kernels(bench.run);
  if (own === null) {
    bench.table("Kernels", ["Kernel"]).say("Not measured: there is no device.");
    return;
  }
  try {
    await verify(bench, own);
    await time(bench, own);
  } finally {
    own.close();
  }
  await batchGains(bench);
}

async function verify(bench: Bench, own: KernelBench): Promise<void> {
  const table = bench.table("Kernels against the reference", [
    "Kernel",
    "Error",
    "Tolerance",
    "Status",
  ]);
  bench.step("comparing with the reference");
  const wrong: string[] = [];
  let count = 0;
  for await (const { name, passed, error, tolerance, message } of own.verify()) {
    table.row(name, error.toExponential(1), tolerance.toExponential(0), passed ? "ok" : "FAILED");
    if (!passed) wrong.push(message === undefined ? name : `${name}: ${message}`);
    count++;
    bench.step(`comparing with the reference, ${name} done`);
  }
  const detail = count === 0
    ? "none was checked: their blocks do not fit the columns of this shape"
    : wrong.length === 0
    ? `${count} families of kernels`
    : wrong.join("; ");
  bench.check("kernels agree with the reference", count > 0 && wrong.length === 0, detail);
  table.say("Largest error in units of what is summed up; of sampling, the share of wrong tokens.");
}

async function time(bench: Bench, own: KernelBench): Promise<void> {
  const table = bench.table("Kernels by the number of tokens", [
    "Kernel",
    "Shape",
    "Tokens",
    ["Time (µs)", "us"],
    ["GFLOPS", "GFLOPS"],
    ["GB/s", "GB/s"],
    "% of limit",
    "Time vs 1 token",
    "Gain",
  ]);
  const { repetitions, warmup } = bench.run;
  for (const one of own.cases) {
    bench.step(`timing ${one.kernel}`);
    const all = await one.time(TOKENS, Math.max(1, warmup), repetitions);
    for (const [i, tokens] of TOKENS.entries()) {
      const samples = all[i]!;
      // Of the same turn, so that what changes on the machine changes for both.
      const ratio = summarize(samples.map((ms, turn) => ms / all[0]![turn]!)).median;
      table.row(
        one.kernel,
        one.shape,
        value(tokens, ""),
        bench.measureOfMany(
          `${one.kernel} of ${tokens} tokens`,
          samples.map((ms) => ms * 1000),
          "us",
        ),
        ...rates(bench, one.cost(tokens), summarize(samples).median),
        value(ratio, "x"),
        value(tokens / ratio, "x"),
      );
    }
  }
  table.say(
    "A call among others of its kind, by the device's clock where it has one. The matrices are copies that take turns, as in a model: a cache holds them if it is larger than all of them. The other kernels work on data that caches hold. Gain: how many times as many tokens a second as one token at a time.",
  );
}
