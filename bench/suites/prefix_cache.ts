/**
 * Checks that a repeated prompt is a cache hit and a new one is a miss, and measures what a hit
 * saves.
 */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { type Harness, type Suite } from "../harness/harness.ts";
import { ttft } from "../harness/timings.ts";
import {
  bars,
  BLOCK_HITS,
  BLOCK_MISSES,
  CACHE_HIT_RATE,
  type Metric,
  REQUEST_HITS,
  REQUEST_MISSES,
  TOKENS_SAVED,
  TTFT,
} from "../report/metrics.ts";
import { medianOf, pairedRatios } from "../report/stats.ts";
import type { BenchRequest, CacheUse, Served, Session } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

/** Requests whose prompt was at least partly cached, as a share of all requests. */
const REQUEST_HIT_RATE: Metric = { id: "request_hit_rate", unit: "%" };
/** TTFT without a cache, TTFT of a fully cached prompt, and the first divided by the second. */
const UNCACHED_TTFT: Metric = { id: "uncached_ttft", unit: "ms", headline: true };
const CACHED_TTFT: Metric = { id: "cached_ttft", unit: "ms", headline: true };
const CACHED_SPEEDUP: Metric = { id: "cached_speedup", unit: "x" };

/**
 * The requests in order, and the expected outcome. PREFIX_HIT: only some of the first prompt's
 * blocks.
 */
const TESTS = [
  { name: "First request", expected: "MISS" },
  { name: "Same prompt", expected: "HIT" },
  { name: "Different prompt", expected: "MISS" },
  { name: "Same beginning", expected: "PREFIX_HIT" },
  { name: "Return to prompt 1", expected: "HIT" },
] as const;

interface CachedRequest {
  readonly served: Served;
  /** Cached tokens of this prompt. */
  readonly tokensSaved: number;
  /** Totals over all requests so far. */
  readonly use: CacheUse;
}

/** A prompt has at least three full blocks, so that another prompt can share some of them. */
function lengthOf(promptTokens: number): number {
  return Math.max(promptTokens, 3 * BLOCK_TOKENS + 1);
}

/**
 * Minimum of full blocks for a server: its blocks may be larger, and its tokens are not counted
 * exactly.
 */
const SERVER_BLOCKS = 8;

/**
 * A HIT of a server has at least this share of the prompt cached, a MISS at most the second one.
 */
const WHOLE = 0.75;
const NONE = 0.1;

export const prefixCache: Suite = {
  name: "prefix-cache",
  summary: "time saved when prompts repeat",
  endpoint: true,
  summaryColumns: [
    { title: "Uncached TTFT", metric: UNCACHED_TTFT.id },
    { title: "Cached TTFT", metric: CACHED_TTFT.id },
    { title: "Speedup", metric: CACHED_SPEEDUP.id },
  ],
  // All prompts stay cached while the last one runs.
  needs: ({ promptTokens, maxTokens }) => ({
    sequences: 1,
    tokens: 4 * (lengthOf(promptTokens) + maxTokens + BLOCK_TOKENS),
  }),
  async run(harness) {
    const { endpoint, model } = harness.target.environment;
    const isServer = endpoint !== undefined;
    // The states of recurrent layers are not cached, so no prompt can hit.
    const isRecurrent = model.states !== undefined;
    const least = isServer ? SERVER_BLOCKS * BLOCK_TOKENS + 1 : 0;
    const length = Math.max(lengthOf(harness.runOptions.promptTokens), least);
    const [first, other] = harness.prompts(2, length);
    const shared = sharedTokens(length);
    const partly = [...first!.slice(0, shared), ...other!.slice(shared)];
    const requests = harness.requests([first!, first!, other!, partly, first!]);
    const ways = [
      { name: "without a cache", share: false, own: requests.slice(0, 1) },
      { name: "with a cache", share: true, own: requests },
    ];
    harness.plan(ways.length);
    const [uncached = [], runs = []] = await harness.interleave(
      ways,
      ({ name }) => name,
      ({ share, own }) =>
        harness.withSession({ sharePrefixes: share }, (session) => serveAll(session, own)),
    );

    const table = harness.table("Prefix cache", "Test | Expected | Actual | Time | Status");
    const judged = runs.map((run) => isServer ? serverOutcomes(run) : outcomes(run, length));
    for (const [i, { name, expected: usual }] of TESTS.entries()) {
      const kind = isRecurrent ? "MISS" : usual;
      const expected = kind === "PREFIX_HIT" && !isServer ? `${kind} (${shared} tok)` : kind;
      const seen = new Set(judged.map((outcomes) => outcomes[i]!));
      const actual = [...seen].join(", ");
      const served = runs.map((run) => run[i]!.served);
      const time = harness.at({ test: name }).measure(TTFT, served.map(ttft));
      if (seen.has(NOT_REPORTED)) {
        table.row(name, expected, NOT_REPORTED, time, "-");
        continue;
      }
      const ok = seen.size === 1 && seen.has(expected);
      table.row(name, expected, actual, time, ok ? "ok" : "FAILED");
      harness.check(name, ok, `${actual}, expected ${expected}`);
    }
    table.note(
      `Time is the TTFT for prompts of ${length} ${
        plural(length, "token")
      }. The fourth has ${shared} ${
        plural(shared, "token")
      } in common with the first, in full blocks of ${BLOCK_TOKENS}.`,
      ...(isRecurrent
        ? [
          "This model has recurrent layers. Their states are not cached, so every prompt is computed again.",
        ]
        : []),
      ...(isServer
        ? [
          `For a server, a HIT means that ${
            100 * WHOLE
          } % of the prompt or more was cached, a MISS that ${
            100 * NONE
          } % or less was. Tokens that all prompts share, such as those of a template, are not counted. Some servers report cached tokens only if started with an option: vLLM with --enable-prompt-tokens-details, SGLang with --enable-cache-report.`,
        ]
        : []),
    );
    totals(harness, runs, uncached.map(([request]) => ttft(request!.served)));
  },
  charts: [bars("Time to the first token", TTFT, { by: "test" })],
};

/** Half of the full blocks of a prompt. */
function sharedTokens(length: number): number {
  return BLOCK_TOKENS * Math.floor(Math.floor((length - 1) / BLOCK_TOKENS) / 2);
}

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

const NOT_REPORTED = "not reported";

/** The outcome of each request, if the server reports how many tokens were cached. */
function serverOutcomes(run: readonly CachedRequest[]): string[] {
  // Tokens that even a new prompt has in common with others are not counted.
  const common = Math.min(...run.map(({ tokensSaved }) => tokensSaved));
  return run.map(({ served: { promptTokens, cachedTokens }, tokensSaved }) => {
    if (promptTokens === undefined || cachedTokens === undefined) return NOT_REPORTED;
    const share = (tokensSaved - common) / (promptTokens - common);
    return share >= WHOLE ? "HIT" : share <= NONE ? "MISS" : "PREFIX_HIT";
  });
}

function outcomes(run: readonly CachedRequest[], promptTokens: number): string[] {
  return run.map(({ tokensSaved }) => outcome(tokensSaved, promptTokens));
}

/** A HIT covers all full blocks before the last token of the prompt, which is always computed. */
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
    "Cache Hits | Cache Misses | Hit Rate | Tokens Saved | Block Hits | Block Misses | Block Hit Rate | Uncached TTFT (ms) | Cached TTFT (ms) | Cached Speedup",
  );
  const once = runs[0]!;
  const { hits, misses, tokensSaved } = once.at(-1)!.use;
  const requestHits = once.filter((request) => request.tokensSaved > 0).length;
  const cachedTimes = runs.map((run) =>
    medianOf([run[1]!, run[4]!].map(({ served }) => ttft(served)))
  );
  const at = harness.at();
  const isServer = harness.target.environment.endpoint !== undefined;
  const isReported = !isServer || once.every(({ served }) => served.cachedTokens !== undefined);
  const reported = (metric: Metric, value: number) =>
    isReported ? at.value(metric, value) : NOT_REPORTED;
  table.row(
    reported(REQUEST_HITS, requestHits),
    reported(REQUEST_MISSES, once.length - requestHits),
    reported(REQUEST_HIT_RATE, 100 * requestHits / once.length),
    reported(TOKENS_SAVED, tokensSaved),
    isServer ? "-" : at.value(BLOCK_HITS, hits),
    isServer ? "-" : at.value(BLOCK_MISSES, misses),
    reported(CACHE_HIT_RATE, 100 * hits / Math.max(1, hits + misses)),
    at.measure(UNCACHED_TTFT, uncachedTimes),
    at.measure(CACHED_TTFT, cachedTimes),
    at.ratio(CACHED_SPEEDUP, pairedRatios(uncachedTimes, cachedTimes)),
  );
  table.note(
    `Cache hits and misses count requests; ${
      isServer
        ? "the block hit rate is the share of prompt tokens that were cached"
        : "block hits and misses count full blocks of prompts"
    }. They are for the ${TESTS.length} requests above, each sent once. The speedup compares the TTFT of a fully cached prompt with the TTFT without a cache; the runs are interleaved.`,
  );
}
