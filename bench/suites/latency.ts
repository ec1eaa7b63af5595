/** How long a request waits: for its first token, between tokens, in all. */

import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { percentile, summarize } from "../harness/stats.ts";
import { bufferBytes, type Served, type Serving } from "../targets/target.ts";
import { endToEnd, interTokenLatencies, tpot, ttft } from "../harness/timings.ts";

export async function latency(bench: Bench): Promise<void> {
  const prompts = bench.prompts(bench.run.prompts);
  // One table after the other needs the same runs: each prompt alone, in turn.
  const runs = await bench.repeat("prompts in turn", bench.requests(prompts), {
    arrival: "in-turn",
  });
  const all = runs.flatMap((run) => run.requests);
  metrics(bench, all, chainedSteps(runs));
  perPrompt(bench, runs, prompts);
  await contexts(bench);
  streaming(bench, all);
  summary(bench, runs);
}

/** Output tokens a second after the first. */
function decodeRate(served: Served): number {
  return 1000 / tpot(served);
}

/** Most steps that the device chained: as many tokens come at once. */
function chainedSteps(runs: readonly Serving[]): number {
  return Math.max(...runs.flatMap(({ steps }) => steps.map(({ chained }) => chained)));
}

function metrics(bench: Bench, all: readonly Served[], chained: number): void {
  const { promptTokens, maxTokens } = bench.run;
  const table = bench.table("Latency", ["Metric", "Value"]);
  const gaps = all.flatMap(interTokenLatencies);
  const limit = bench.limit(1);
  table.row("TTFT", bench.measure("TTFT", all.map(ttft), "ms"));
  table.row("TPOT", bench.measure("TPOT", all.map(tpot), "ms"));
  table.row(
    "Decode throughput",
    bench.measure("decode throughput", all.map(decodeRate), "tok/s", limit),
  );
  table.row(`E2E (${maxTokens} tokens)`, bench.measure("E2E", all.map(endToEnd), "ms"));
  table.row(
    "Processing TPS",
    bench.measure(
      "processing TPS",
      all.map((served) => promptTokens / ttft(served) * 1000),
      "tok/s",
      bench.prefillLimit(promptTokens),
    ),
  );
  table.row(
    "Total throughput",
    bench.measure(
      "total throughput",
      all.map((served) => (promptTokens + served.ids.length) / endToEnd(served) * 1000),
      "tok/s",
    ),
  );
  for (const p of [50, 95, 99]) table.row(`ITL p${p}`, value(percentile(gaps, p), "ms"));
  if (chained > 1) {
    table.say(
      `The device chains up to ${chained} steps, and tokens come in bursts of as many: the ITL is near 0 within a burst, and between two of them that of the whole chain. TPOT is the time of a token.`,
    );
  }
}

function perPrompt(
  bench: Bench,
  runs: readonly Serving[],
  prompts: readonly (readonly number[])[],
): void {
  const table = bench.table("Per-Prompt Latency", [
    "Prompt",
    "Tokens",
    ["TTFT (ms)", "ms"],
    ["TPOT (ms)", "ms"],
    ["tok/s", "tok/s"],
  ]);
  for (const [i, prompt] of prompts.entries()) {
    const own = runs.map((run) => run.requests[i]!);
    table.row(
      title(bench.target.text.decode(prompt, false)),
      value(prompt.length, ""),
      bench.measure(`TTFT of prompt ${i + 1}`, own.map(ttft), "ms"),
      bench.measure(`TPOT of prompt ${i + 1}`, own.map(tpot), "ms"),
      bench.measure(`tok/s of prompt ${i + 1}`, own.map(decodeRate), "tok/s", bench.limit(1)),
    );
  }
}

/** The beginning of a prompt, on one line. */
function title(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 32 ? line : `${line.slice(0, 31)}…`;
}

async function contexts(bench: Bench): Promise<void> {
  const table = bench.table("Context Length Scaling", [
    "Context",
    ["TTFT (ms)", "ms"],
    ["TPOT (ms)", "ms"],
    ["Decode tok/s", "tok/s"],
  ]);
  for (const context of bench.contexts) {
    const requests = bench.requests(bench.prompts(1, context));
    const served = (await bench.repeat(`context of ${context}`, requests))
      .map((run) => run.requests[0]!);
    table.row(
      value(context, ""),
      bench.measure(`TTFT at ${context} tokens`, served.map(ttft), "ms"),
      bench.measure(`TPOT at ${context} tokens`, served.map(tpot), "ms"),
      bench.measure(
        `decode at ${context} tokens`,
        served.map(decodeRate),
        "tok/s",
        bench.limit(1, context),
      ),
    );
  }
}

function streaming(bench: Bench, all: readonly Served[]): void {
  const table = bench.table("Streaming", ["Model", "TTFT", "Generation Speed"]);
  table.row(
    bench.report.environment.model.name,
    bench.measure("TTFT", all.map(ttft), "ms"),
    bench.measure("decode throughput", all.map(decodeRate), "tok/s", bench.limit(1)),
  );
  table.say("Measured at the reader of the token stream, as are all times of this report.");
}

function summary(bench: Bench, runs: readonly Serving[]): void {
  const table = bench.table("Run summary", [
    "Model",
    "Runs",
    "Prompt Tok",
    "Gen Tok",
    ["Total Time (s)", "s"],
    ["TTFT Mean (ms)", "ms"],
    ["TPOT Mean (ms)", "ms"],
    ["Gen Speed (tok/s)", "tok/s"],
    ["Total Throughput (tok/s)", "tok/s"],
    "Memory",
  ]);
  const all = runs.flatMap((run) => run.requests);
  const seconds = all.reduce((sum, served) => sum + endToEnd(served), 0) / 1000;
  const promptTokens = all.length * bench.run.promptTokens;
  const tokens = all.reduce((sum, { ids }) => sum + ids.length, 0);
  const decodeSeconds = seconds - all.reduce((sum, served) => sum + ttft(served), 0) / 1000;
  const memory = bufferBytes(bench.target.memory());
  table.row(
    bench.report.environment.model.name,
    value(all.length, ""),
    value(promptTokens, ""),
    value(tokens, ""),
    value(seconds, "s"),
    value(summarize(all.map(ttft)).mean, "ms"),
    value(summarize(all.map(tpot)).mean, "ms"),
    value((tokens - all.length) / decodeSeconds, "tok/s", bench.limit(1)),
    value((promptTokens + tokens) / seconds, "tok/s"),
    memory === undefined ? "not counted on the CPU" : value(memory, "bytes"),
  );
}
