/**
 * Metrics of the server in Prometheus' text format. They have the names that dashboards for
 * llama-server and vLLM use.
 */

import type { EngineStats } from "../engine/run/engine.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import type { ExchangeRecord } from "./exchange.ts";
import { phasesOf } from "./usage.ts";

/** Upper bounds of the histograms' buckets, in seconds; the same as vLLM's. */
const SECONDS = [
  ...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75],
  ...[1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640],
];

class Histogram {
  readonly #counts: number[] = SECONDS.map(() => 0);
  #sum = 0;
  #count = 0;

  observe(seconds: number): void {
    this.#sum += seconds;
    this.#count++;
    for (const [i, bound] of SECONDS.entries()) if (seconds <= bound) this.#counts[i]!++;
  }

  lines(name: string): string[] {
    return [
      ...SECONDS.map((bound, i) => `${name}_bucket{le="${bound}"} ${this.#counts[i]}`),
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ];
  }
}

/** Collects the metrics of finished requests. */
export class Metrics {
  /** Number of requests, by path and status. */
  readonly #requests = new Map<string, number>();
  readonly #timeToFirst = new Histogram();
  readonly #timePerToken = new Histogram();
  readonly #latency = new Histogram();
  #promptSeconds = 0;
  #predictedSeconds = 0;

  /**
   * Records a finished request.
   *
   * @param path one of the server's own paths, or "other"
   */
  record({ answers, status }: ExchangeRecord, path: string): void {
    const key = `{path="${path}",status="${status}"}`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    for (const answer of answers) {
      const phases = phasesOf(answer);
      if (phases === undefined) continue;
      this.#promptSeconds += phases.prompt / 1000;
      this.#predictedSeconds += phases.predicted / 1000;
      this.#timeToFirst.observe(phases.toFirst / 1000);
      this.#latency.observe(phases.total / 1000);
      const { length } = answer.timings.tokens;
      if (length > 1) this.#timePerToken.observe(phases.predicted / (length - 1) / 1000);
    }
  }

  /** Returns all metrics, including those of the engine if `stats` are given. */
  text(stats: EngineStats | undefined): string {
    const lines: string[] = [];
    const family = (name: string, type: string, samples: readonly string[]) => {
      lines.push(`# TYPE ${name} ${type}`, ...samples);
    };
    const value = (name: string, type: "counter" | "gauge", figure: number) =>
      family(name, type, [`${name} ${figure}`]);
    family(
      "tvllm:requests_total",
      "counter",
      [...this.#requests].map(([labels, count]) => `tvllm:requests_total${labels} ${count}`),
    );
    value("llamacpp:prompt_seconds_total", "counter", this.#promptSeconds);
    value("llamacpp:tokens_predicted_seconds_total", "counter", this.#predictedSeconds);
    const histograms = {
      "vllm:time_to_first_token_seconds": this.#timeToFirst,
      "vllm:time_per_output_token_seconds": this.#timePerToken,
      "vllm:e2e_request_latency_seconds": this.#latency,
    };
    for (const [name, histogram] of Object.entries(histograms)) {
      family(name, "histogram", histogram.lines(name));
    }
    if (stats) {
      const { blocks, prefix } = stats;
      const lookedUp = (prefix.hits + prefix.misses) * BLOCK_TOKENS;
      value("llamacpp:prompt_tokens_total", "counter", stats.prefillTokens);
      value("llamacpp:tokens_predicted_total", "counter", stats.generatedTokens);
      value("llamacpp:requests_processing", "gauge", stats.running);
      value("llamacpp:requests_deferred", "gauge", stats.waiting);
      value("vllm:num_requests_running", "gauge", stats.running);
      value("vllm:num_requests_waiting", "gauge", stats.waiting);
      value("vllm:num_preemptions_total", "counter", stats.preemptions);
      value("vllm:kv_cache_usage_perc", "gauge", blocks.used / blocks.budget);
      // In tokens. Only whole blocks are counted, because prefixes are cached in blocks.
      value("vllm:prefix_cache_queries_total", "counter", lookedUp);
      value("vllm:prefix_cache_hits_total", "counter", prefix.tokensSaved);
      value("tvllm:kv_blocks_used", "gauge", blocks.used);
      value("tvllm:kv_blocks_kept", "gauge", blocks.kept);
      value("tvllm:kv_blocks_budget", "gauge", blocks.budget);
      value("tvllm:steps_total", "counter", stats.steps);
    }
    return lines.join("\n") + "\n";
  }
}
