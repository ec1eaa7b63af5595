/** The metrics that several suites measure. Those of a single suite are defined in its file. */

import type { ChartSpec, Unit } from "./report.ts";

/** A quantity that is measured, whatever its settings. */
export interface Metric {
  /** The same in every run, so that two runs can be compared. */
  readonly id: string;
  readonly unit: Unit;
  /** A main result of the report; these decide whether the machine was too noisy. */
  readonly headline?: true;
}

/** A metric that is common in the field, with its definition here. */
export interface DefinedMetric extends Metric {
  /** Its usual names. */
  readonly name: string;
  readonly definition: string;
}

/** Requests to a server that were served, and that failed. */
export const REQUESTS_SERVED: Metric = { id: "requests_served", unit: "" };
export const REQUESTS_FAILED: Metric = { id: "requests_failed", unit: "" };

type ChartOptions = Omit<ChartSpec, "kind" | "title" | "metric">;

/** A chart with a bar for each value of the setting `by`. */
export function bars(title: string, metric: Metric, options: ChartOptions): ChartSpec {
  return { kind: "bars", title, metric: metric.id, ...options };
}

/** A chart with a line along the setting `by`. */
export function lines(title: string, metric: Metric, options: ChartOptions): ChartSpec {
  return { kind: "lines", title, metric: metric.id, ...options };
}

export const TTFT: DefinedMetric = {
  id: "ttft",
  unit: "ms",
  headline: true,
  name: "TTFT",
  definition: "Time to first token: from submitting a request to its first token at the consumer",
};
export const TPOT: DefinedMetric = {
  id: "tpot",
  unit: "ms",
  headline: true,
  name: "TPOT",
  definition: "Time per output token: (E2E − TTFT) / (output tokens − 1)",
};
export const ITL: DefinedMetric = {
  id: "itl",
  unit: "ms",
  name: "ITL",
  definition: "Inter-token latency: the time between two tokens of a request at the consumer",
};
export const E2E: DefinedMetric = {
  id: "e2e",
  unit: "ms",
  headline: true,
  name: "E2E",
  definition: "End-to-end latency: from submitting a request to its last token at the consumer",
};
export const DECODE_THROUGHPUT: DefinedMetric = {
  id: "decode_throughput",
  unit: "tok/s",
  headline: true,
  name: "Decode throughput, generation speed, decode TPS",
  definition: "Output tokens of a request per second after its first token: 1000 / TPOT",
};
export const PREFILL_THROUGHPUT: DefinedMetric = {
  id: "prefill_throughput",
  unit: "tok/s",
  headline: true,
  name: "Prefill throughput, processing TPS",
  definition: "Prompt tokens of a request divided by its TTFT",
};
export const THROUGHPUT: DefinedMetric = {
  id: "throughput",
  unit: "tok/s",
  headline: true,
  name: "Throughput",
  definition:
    "Output tokens of all requests divided by the time from the first submission to the last token",
};
export const TOTAL_THROUGHPUT: DefinedMetric = {
  id: "total_throughput",
  unit: "tok/s",
  name: "Total throughput",
  definition: "Prompt and output tokens of a request divided by its E2E",
};
export const REQUEST_THROUGHPUT: DefinedMetric = {
  id: "request_throughput",
  unit: "req/s",
  name: "Requests/sec",
  definition: "Requests served, divided by the same time as for throughput",
};
export const UTILIZATION: DefinedMetric = {
  id: "utilization",
  unit: "%",
  name: "Utilization",
  definition:
    "The minimum time that the device's bandwidth and arithmetic rate allow for the same work, divided by the time taken",
};
export const EFFICIENCY: DefinedMetric = {
  id: "efficiency",
  unit: "%",
  name: "Efficiency",
  definition: "Throughput of N requests divided by N times the throughput of one request",
};
const SPEEDUP: DefinedMetric = {
  id: "speedup",
  unit: "x",
  name: "Speedup",
  definition:
    "How many times as fast one case is as another: the median of the ratios of interleaved repetitions",
};
export const CACHE_HIT_RATE: DefinedMetric = {
  id: "cache_hit_rate",
  unit: "%",
  name: "Cache hit rate",
  definition:
    "Full blocks of prompts found in the cache, divided by all full blocks of prompts; for a server, " +
    "prompt tokens instead of blocks",
};
export const CV: DefinedMetric = {
  id: "decode_throughput_cv",
  unit: "%",
  name: "Decode TPS CV",
  definition:
    "Variation between scenarios: the population standard deviation of their decode throughputs, " +
    "divided by the mean. 0 means that all scenarios decode equally fast",
};

/** What `tvllm help metrics` and docs/metrics.md explain, in this order. */
export const DEFINED: readonly DefinedMetric[] = [
  TTFT,
  TPOT,
  ITL,
  E2E,
  DECODE_THROUGHPUT,
  PREFILL_THROUGHPUT,
  THROUGHPUT,
  TOTAL_THROUGHPUT,
  REQUEST_THROUGHPUT,
  UTILIZATION,
  EFFICIENCY,
  SPEEDUP,
  CACHE_HIT_RATE,
  CV,
];

/** The total time of the requests, by which their tokens are divided for the throughput. */
export const DURATION: Metric = { id: "duration", unit: "s", headline: true };
/** Tokens generated. */
export const OUTPUT_TOKENS: Metric = { id: "output_tokens", unit: "" };
/** Bytes of buffers on the device. */
export const DEVICE_MEMORY: Metric = { id: "device_memory", unit: "bytes" };
/** Peak memory of the process, as counted by the operating system. */
export const PEAK_RSS: Metric = { id: "peak_rss", unit: "bytes" };
/** How much longer the first request waited than later ones. */
export const COMPILE_TIME: Metric = { id: "compile_time", unit: "ms" };
/** The part of loading the model that the setting `part` names; without it, all of loading. */
export const LOAD_TIME: Metric = { id: "load_time", unit: "ms" };
/** Bytes of the weights divided by the time to read and upload them. */
export const LOAD_RATE: Metric = { id: "load_rate", unit: "GB/s" };
/** From the launcher's first line, or the start of the process, until the command ran. */
export const STARTUP: Metric = { id: "startup", unit: "ms" };
/** The kernels' share of a decode step, by the device's clock. */
export const KERNELS_SHARE: Metric = { id: "kernels_share", unit: "%" };
/** The cost of a dispatch in a series of them, measured by the probe. */
export const DISPATCH_OVERHEAD: Metric = { id: "dispatch_overhead", unit: "us" };
/** Full blocks of prompts found in the cache, and not found. */
export const BLOCK_HITS: Metric = { id: "block_hits", unit: "" };
export const BLOCK_MISSES: Metric = { id: "block_misses", unit: "" };
/** Requests whose prompt was at least partly cached, and those whose prompt was not. */
export const REQUEST_HITS: Metric = { id: "request_hits", unit: "" };
export const REQUEST_MISSES: Metric = { id: "request_misses", unit: "" };
/** Prompt tokens that were not computed. */
export const TOKENS_SAVED: Metric = { id: "tokens_saved", unit: "" };
/** A result as a share of its limit, measured by the probe. */
export const OF_LIMIT: Metric = { id: "of_limit", unit: "%" };
