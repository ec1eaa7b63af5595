/** Tokens a second: one request, many in turn, many at once, by context, and arriving staggered. */

import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import { generated, tokensPerSecond, totalTime } from "../harness/timings.ts";

export async function throughput(bench: Bench): Promise<void> {
  await modes(bench);
  await contexts(bench);
  await batching(bench);
}

async function modes(bench: Bench): Promise<void> {
  const { prompts } = bench.run;
  const requests = bench.requests(bench.prompts(prompts));
  const table = bench.table("Throughput", ["Benchmark", ["Tokens/sec", "tok/s"], "Utilization"]);
  const cases = [
    ["Single request", requests.slice(0, 1), "together"],
    [`Sequential (${prompts} requests)`, requests, "in-turn"],
    [`Concurrent (${prompts} requests)`, requests, "together"],
  ] as const;
  const medians: number[] = [];
  for (const [name, own, arrival] of cases) {
    const samples = (await bench.repeat(name, own, { arrival })).map(tokensPerSecond);
    const limit = bench.limit(arrival === "together" ? own.length : 1);
    const rate = bench.measure(name, samples, "tok/s", limit);
    medians.push(rate.value);
    table.row(name, rate, utilization(bench, rate.value));
  }
  table.say(
    `**Concurrent vs Sequential speedup: ${(medians[2]! / medians[1]!).toFixed(2)}x**`,
    "Utilization is the share of the max tok/s (memory-bound) of one request; requests that run together share the reading of the weights and may exceed it.",
  );
}

function utilization(bench: Bench, rate: number) {
  const { limits } = bench.report;
  return limits === null ? "no limit known" : value(100 * rate / limits.memoryBound, "%");
}

async function contexts(bench: Bench): Promise<void> {
  const table = bench.table("Context Length Scaling", [
    "Context Length",
    "Tokens",
    ["Time (s)", "s"],
    ["Tok/sec", "tok/s"],
  ]);
  for (const context of bench.contexts) {
    const requests = bench.requests(bench.prompts(1, context));
    const runs = await bench.repeat(`context of ${context}`, requests);
    table.row(
      value(context, ""),
      value(generated(runs[0]!), ""),
      bench.measure(`time at ${context} tokens`, runs.map(totalTime), "s"),
      bench.measure(
        `context of ${context}`,
        runs.map(tokensPerSecond),
        "tok/s",
        bench.limit(1, context),
      ),
    );
  }
  table.say("Time is that of the whole request, its prompt included.");
}

async function batching(bench: Bench): Promise<void> {
  const table = bench.table("Continuous batching", [
    "Requests",
    "Total Tokens",
    ["Total Time (s)", "s"],
    ["Throughput (tok/s)", "tok/s"],
    ["Requests/sec", "req/s"],
    "Speedup",
  ]);
  const { prompts } = bench.run;
  const requests = bench.requests(bench.prompts(prompts));
  const cases = [
    ["1", requests.slice(0, 1), "together"],
    [`${prompts} at once`, requests, "together"],
    [`${prompts} staggered`, requests, "staggered"],
  ] as const;
  let single: number | undefined;
  for (const [name, own, arrival] of cases) {
    const runs = await bench.repeat(`batching, ${name}`, own, { arrival });
    const rates = runs.map(tokensPerSecond);
    const rate = summarize(rates).median;
    single ??= rate;
    table.row(
      name,
      value(generated(runs[0]!), ""),
      bench.measure(`batching ${name}, time`, runs.map(totalTime), "s"),
      bench.measure(`batching ${name}`, rates, "tok/s", bench.limit(own.length)),
      bench.measure(
        `batching ${name}, requests`,
        runs.map((run) => own.length / totalTime(run)),
        "req/s",
      ),
      value(rate / single, "x"),
    );
  }
  table.say("Staggered: each request arrives when the one before has its fourth token.");
}
