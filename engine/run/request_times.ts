/** The field's measures of one request, from the times of its tokens at the consumer. */

/** A request that has ended; times in ms by one clock. */
export interface RequestTimes {
  readonly submitted: number;
  /** When each token reached its consumer; at least one. */
  readonly times: readonly number[];
}

/** Time to first token: from submitting the request to its first token, ms. */
export function ttft({ submitted, times }: RequestTimes): number {
  return times[0]! - submitted;
}

/** End-to-end latency: from submitting the request to its last token, ms. */
export function endToEnd({ submitted, times }: RequestTimes): number {
  return times.at(-1)! - submitted;
}

/** Time per output token: (E2E − TTFT) / (output tokens − 1), ms; needs two tokens. */
export function tpot(request: RequestTimes): number {
  return (endToEnd(request) - ttft(request)) / (request.times.length - 1);
}

/** Output tokens a second after the first; needs two tokens. */
export function decodeRate(request: RequestTimes): number {
  return 1000 / tpot(request);
}

/** Inter-token latencies: gaps between consecutive tokens, ms. */
export function interTokenLatencies({ times }: RequestTimes): number[] {
  return times.slice(1).map((time, i) => time - times[i]!);
}
