/** Whether equal prompts are computed once: hits and misses as expected, and what a hit saves. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { type Harness, type Suite } from "../harness/harness.ts";
import { ttft } from "../harness/timings.ts";
import { bars, CACHE_HITS, type Metric, TOKENS_SAVED, TTFT } from "../report/metrics.ts";
import type { BenchRequest, CacheUse, Served, Session } from "../targets/target.ts";

/** Full blocks of prompts that the cache had not. */
const CACHE_MISSES: Metric = { id: "cache_misses", unit: "" };
const CACHE_HIT_RATE: Metric = { id: "cache_hit_rate", unit: "%" };
/** TTFT without a cache over that of a prompt which is cached whole. */
const CACHED_TTFT: Metric = { id: "cached_ttft", unit: "ms" };
const UNCACHED_TTFT: Metric = { id: "uncached_ttft", unit: "ms" };
const CACHED_SPEEDUP: Metric = { id: "cached_speedup", unit: "x" };

/** The requests in order, and the outcomes that are right. */
const TESTS = [
  ["First request", ["MISS"]],
  ["Same prompt", ["HIT"]],
  ["Different prompt", ["MISS", "PREFIX_HIT"]],
  ["Return to prompt 1", ["HIT"]],
] as const;

interface CachedRequest {
  readonly served: Served;
  /** Of its prompt. */
  readonly tokensSaved: number;
  /** Of all requests so far. */
  readonly use: CacheUse;
}

export const prefixCache: Suite = {
  name: "prefix-cache",
  summary: "whether equal prompts are computed once",
  // The two prompts, each after the other, while both are cached.
  needs: ({ promptTokens, maxTokens }) => ({
    sequences: 1,
    tokens: 3 * (Math.max(promptTokens, BLOCK_TOKENS + 1) + maxTokens + BLOCK_TOKENS),
  }),
  async run(harness) {
    // A prompt without a full block of its own cannot hit.
    const length = Math.max(harness.runOptions.promptTokens, BLOCK_TOKENS + 1);
    const [first, other] = harness.prompts(2, length);
    const requests = harness.requests([first!, first!, other!, first!]);
    const uncached = await harness.repeat("without a cache", requests.slice(0, 1));
    const [runs = []] = await harness.interleave(
      [requests],
      () => "with a cache",
      (own) => harness.withSession({ sharePrefixes: true }, (session) => serveAll(session, own)),
    );

    const table = harness.table("Prefix cache", "Test | Expected | Actual | Time | Status");
    for (const [i, [name, expected]] of TESTS.entries()) {
      const own = runs.map((run) => run[i]!);
      const outcomes = own.map(({ tokensSaved }) => outcome(tokensSaved, length));
      const ok = outcomes.every((actual) => expected.some((e) => actual.startsWith(e)));
      const actual = [...new Set(outcomes)].join(", ");
      const time = harness.at({ test: name }).measure(TTFT, own.map(({ served }) => ttft(served)));
      table.row(name, expected.join(" or "), actual, time, ok ? "ok" : "FAILED");
      harness.check(name, ok, `${actual}, expected ${expected.join(" or ")}`);
    }
    table.note("Time is the TTFT.");
    totals(harness, runs, uncached.map(({ requests: [served] }) => ttft(served!)));
  },
  charts: [bars("Time to the first token", TTFT, { by: "test" })],
};

async function serveAll(
  session: Session,
  requests: readonly BenchRequest[],
): Promise<CachedRequest[]> {
  const cached: CachedRequest[] = [];
  for (const request of requests) {
    const { tokensSaved } = session.cacheUse;
    const { requests: [served] } = await session.serve([request]);
    const use = session.cacheUse;
    cached.push({ served: served!, use, tokensSaved: use.tokensSaved - tokensSaved });
  }
  return cached;
}

/** A hit is all of the prompt's full blocks before its last token, which is always computed. */
function outcome(tokensSaved: number, promptTokens: number): string {
  if (tokensSaved === 0) return "MISS";
  const most = Math.floor((promptTokens - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
  return tokensSaved >= most ? "HIT" : `PREFIX_HIT (${tokensSaved} tok)`;
}

function totals(
  harness: Harness,
  runs: readonly CachedRequest[][],
  uncachedTimes: readonly number[],
): void {
  const table = harness.table(
    "Cache",
    "Cache Hits | Cache Misses | Hit Rate | Tokens Saved | Cached Speedup",
  );
  const { hits, misses, tokensSaved } = runs[0]!.at(-1)!.use;
  const cachedTimes = runs.flatMap((run) => [run[1]!, run[3]!]).map(({ served }) => ttft(served));
  const at = harness.at();
  const uncached = at.measure(UNCACHED_TTFT, uncachedTimes);
  const cached = at.measure(CACHED_TTFT, cachedTimes);
  table.row(
    at.value(CACHE_HITS, hits),
    at.value(CACHE_MISSES, misses),
    at.value(CACHE_HIT_RATE, 100 * hits / Math.max(1, hits + misses)),
    at.value(TOKENS_SAVED, tokensSaved),
    at.value(CACHED_SPEEDUP, uncached.value / cached.value),
  );
  table.note(
    "Hits and misses are full blocks of prompts, of the four requests above once; the speedup is that of the TTFT of a prompt that is cached whole.",
  );
}
