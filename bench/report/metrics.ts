/** The metrics that several suites measure. Those of a single suite are defined beside it. */

import type { ChartSpec, Unit } from "./report.ts";

/** What is measured, whatever its settings. */
export interface Metric {
  /** The same in every run; two runs are compared by it. */
  readonly id: string;
  readonly unit: Unit;
  /** One of dozens in a table: it counts for the noise, and has no warnings of its own. */
  readonly detail?: true;
}

type ChartOptions = Omit<ChartSpec, "kind" | "title" | "metric">;

/** A chart with a bar for each value of the setting `by`. */
export function bars(title: string, metric: Metric, options: ChartOptions): ChartSpec {
  return { kind: "bars", title, metric: metric.id, ...options };
}

/** A chart with a line along the setting `by`. */
export function lines(title: string, metric: Metric, options: ChartOptions): ChartSpec {
  return { kind: "lines", title, metric: metric.id, ...options };
}

/** From submitting a request to its first token at the consumer. */
export const TTFT: Metric = { id: "ttft", unit: "ms" };
/** (E2E − TTFT) / (output tokens − 1). */
export const TPOT: Metric = { id: "tpot", unit: "ms" };
/** Output tokens of a request per second, after its first. */
export const DECODE_THROUGHPUT: Metric = { id: "decode_throughput", unit: "tok/s" };
/** Prompt tokens of a request per second of its TTFT. */
export const PREFILL_THROUGHPUT: Metric = { id: "prefill_throughput", unit: "tok/s" };
/** Output tokens of all requests per second of the whole time. */
export const THROUGHPUT: Metric = { id: "throughput", unit: "tok/s" };
/** From the first submit to the last token of all requests. */
export const DURATION: Metric = { id: "duration", unit: "s" };
/** Tokens generated. */
export const OUTPUT_TOKENS: Metric = { id: "output_tokens", unit: "" };
/** Bytes of buffers on the device. */
export const DEVICE_MEMORY: Metric = { id: "device_memory", unit: "bytes" };
/** What the first request waited longer than later ones. */
export const COMPILE_TIME: Metric = { id: "compile_time", unit: "ms" };
/** The kernels' share of a decode step, by the device's clock. */
export const KERNELS_SHARE: Metric = { id: "kernels_share", unit: "%" };
/** What a dispatch costs among others, by the probe. */
export const DISPATCH_OVERHEAD: Metric = { id: "dispatch_overhead", unit: "us" };
/** Full blocks of prompts that the cache had. */
export const CACHE_HITS: Metric = { id: "cache_hits", unit: "" };
/** Prompt tokens that were not computed. */
export const TOKENS_SAVED: Metric = { id: "tokens_saved", unit: "" };
