/** Measures what repacked weights, the KV cache and preallocated buffers gain. */

import type { Kept } from "../../engine/run/engine.ts";
import type { Harness, Suite } from "../harness/harness.ts";
import { decodeRate, tpot } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import {
  bars,
  DECODE_THROUGHPUT,
  LOAD_RATE,
  LOAD_TIME,
  type Metric,
  OF_LIMIT,
  STARTUP,
  TPOT,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { pairedRatios } from "../report/stats.ts";

/** Decode speed of a mode relative to the mode "direct". */
const SPEEDUP: Metric = { id: "mode_speedup", unit: "x" };
/** Limits that follow from the probe, and the values they are computed from. */
const LEAST_TIME: Metric = { id: "least_token_time", unit: "ms" };
const MOST_THROUGHPUT: Metric = { id: "most_decode_throughput", unit: "tok/s" };
const READ_BYTES: Metric = { id: "token_read_bytes", unit: "bytes" };
const BANDWIDTH: Metric = { id: "memory_bandwidth", unit: "GB/s" };

/** Each mode keeps one more thing from step to step than the mode before it. */
const MODES: readonly { readonly mode: string; readonly keep: Required<Kept> }[] = [
  { mode: "direct", keep: { keys: false, weights: false, buffers: false } },
  { mode: "repacked", keep: { keys: false, weights: true, buffers: false } },
  { mode: "repacked + KV cache", keep: { keys: true, weights: true, buffers: false } },
  {
    mode: "repacked + KV cache + preallocated buffers",
    keep: { keys: true, weights: true, buffers: true },
  },
];

export const modes: Suite = {
  name: "modes",
  summary: "gain from repacked weights, KV cache and preallocated buffers",
  stackedTable: "Modes",
  needs: ({ promptTokens, maxTokens }) => ({ sequences: 1, tokens: promptTokens + maxTokens }),
  async run(harness) {
    harness.plan(MODES.length);
    const rates = await measure(harness);
    start(harness);
    roofline(harness, rates);
  },
  charts: [bars("Decoding by mode", DECODE_THROUGHPUT, { by: "mode" })],
};

/** Measures all modes, and returns the decode throughput of each. */
async function measure(harness: Harness): Promise<Result[]> {
  const { promptTokens, maxTokens } = harness.runOptions;
  const { device, model } = harness.report.environment;
  const requests = harness.requests(harness.prompts(1));
  const served = (await harness.interleave(
    MODES,
    ({ mode }) => mode,
    ({ keep }) => harness.withSession({ keep }, (session) => session.serve(requests)),
  )).map((servings) => servings.map(({ requests }) => requests[0]!));
  const table = harness.table("Modes", "Format | Throughput | Latency | vs direct | Context");
  const rates = MODES.map(({ mode }, i) => {
    const own = served[i]!;
    const at = harness.at({ mode });
    const rate = at.measure(DECODE_THROUGHPUT, own.map(decodeRate), harness.limit(1));
    table.row(
      `${model.formats[0]}, ${device.kind === "cpu" ? "CPU" : "GPU"}: ${mode}`,
      rate,
      at.measure(TPOT, own.map(tpot)),
      at.ratio(SPEEDUP, pairedRatios(own.map(decodeRate), served[0]!.map(decodeRate))),
      `${promptTokens} + ${maxTokens} tokens`,
    );
    return rate;
  });
  const texts = new Set(served.flat().map(({ ids }) => ids.join()));
  table.note(
    "direct: each step reads the weights from the model's file and repacks them. repacked: the weights stay in the layout that the kernels read. Without the KV cache, each token recomputes all previous ones. Without preallocated buffers, each step allocates its own; on the CPU, where all buffers share one memory, it clears them and writes its list of operations again.",
    `Throughput counts the tokens after the first; latency is the time per token. ${
      texts.size === 1
        ? "All modes generated the same tokens."
        : `The modes generated ${texts.size} different texts; the output check below judges them.`
    }`,
  );
  return rates;
}

/** Adds the table of start-up times and of the features of processor and adapter. */
function start(harness: Harness): void {
  const { target: { startup, loadTimes, features }, report: { environment } } = harness;
  const table = harness.table("Start", "Metric | Value");
  const whole = Object.values(loadTimes).reduce((a, b) => a + b);
  const at = harness.at();
  table.row(
    `Startup (${
      startup.since === "launcher"
        ? "from the launcher's first line"
        : "from the start of the process"
    })`,
    at.value(STARTUP, startup.milliseconds),
  );
  table.row("Model load", at.value(LOAD_TIME, whole));
  table.row(
    "Weight load rate",
    at.value(LOAD_RATE, environment.model.tensorBytes / (loadTimes.weights * 1e6)),
  );
  table.row("Processor features", environment.host.features.join(", ") || "unknown");
  if (features) table.row("Adapter features", features.join(", ") || "none");
}

/** Adds the table of the limits for a token, and of the share of them that each mode reaches. */
function roofline(harness: Harness, rates: readonly Result[]): void {
  const table = harness.table("Roofline", "Metric | Value | Calculation");
  const { limits } = harness.report;
  const most = harness.limit(1);
  if (limits === null || most === undefined) {
    table.note("Not known: there is no device to probe.");
    return;
  }
  const at = harness.at();
  const { memoryBound, arithmeticBound } = limits;
  const bytes = at.value(READ_BYTES, limits.bytesPerToken);
  const bandwidth = at.value(BANDWIDTH, limits.bandwidth);
  table.row(
    "Bytes read per token",
    bytes,
    "weights, plus keys and values halfway through the answer",
  );
  table.row("Memory bandwidth", bandwidth, limits.source);
  table.row(
    "Minimum time per token",
    at.value(LEAST_TIME, 1000 / most),
    memoryBound <= arithmeticBound
      ? `${text(bytes)} / ${text(bandwidth)}`
      : `${(limits.operationsPerToken / 1e9).toPrecision(3)} GFLOP / ${
        text({ value: limits.flops, unit: "GFLOPS" })
      }`,
  );
  table.row("Maximum tok/s", at.value(MOST_THROUGHPUT, most), "1000 / the minimum time");
  for (const [i, { mode }] of MODES.entries()) {
    table.row(
      `% reached: ${mode}`,
      harness.at({ mode }).value(OF_LIMIT, 100 * rates[i]!.value / most),
      `${text(rates[i]!)} / ${text({ value: most, unit: "tok/s" })}`,
    );
  }
}
