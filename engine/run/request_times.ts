/** Standard latency metrics of one request, from the times when its consumer had each token. */

/** The times of a request that has ended, in ms of the same clock. */
export interface RequestTimes {
  readonly submitted: number;
  /** When each token reached its consumer; at least one. */
  readonly times: readonly number[];
}

/** Time to first token, ms: from submitting the request to its first token. */
export function ttft({ submitted, times }: RequestTimes): number {
  return times[0]! - submitted;
}

/** End-to-end latency, ms: from submitting the request to its last token. */
export function endToEnd({ submitted, times }: RequestTimes): number {
  return times.at(-1)! - submitted;
}

/** Time per output token, ms: (E2E − TTFT) / (output tokens − 1). Needs at least two tokens. */
export function tpot(request: RequestTimes): number {
  return (endToEnd(request) - ttft(request)) / (request.times.length - 1);
}

/** Output tokens per second after the first token. Needs at least two tokens. */
export function decodeRate(request: RequestTimes): number {
  return 1000 / tpot(request);
}

/** Inter-token latencies, ms: the times between consecutive tokens. */
export function interTokenLatencies({ times }: RequestTimes): number[] {
  return times.slice(1).map((time, i) => time - times[i]!);
}
