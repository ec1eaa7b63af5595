/** Measures requests that share a system prompt, with and without a cache of its blocks. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { type Harness, type Suite } from "../harness/harness.ts";
import { tokensPerSecond, totalTime } from "../harness/timings.ts";
import { count } from "../report/format.ts";
import {
  bars,
  BLOCK_HITS,
  CACHE_HIT_RATE,
  DURATION,
  type Metric,
  REQUEST_HITS,
  THROUGHPUT,
  TOKENS_SAVED,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { pairedRatios } from "../report/stats.ts";
import type { BenchRequest, CacheUse, Served } from "../targets/target.ts";

/** Time without the cache divided by the time with it. */
const CACHE_SPEEDUP: Metric = { id: "cache_speedup", unit: "x" };
/** Blocks that were allocated, and blocks that were shared by several requests. */
const BLOCKS_ALLOCATED: Metric = { id: "blocks_allocated", unit: "" };
const BLOCKS_SHARED: Metric = { id: "blocks_shared", unit: "" };

const ROUNDS = 2;
const REQUESTS = 10;
const SYSTEM_TOKENS = 286;
const OWN_TOKENS = 10;
/** Tokens that a warm-up generates. */
const SHORT = 4;

const MODES = (["sequential", "concurrent"] as const).flatMap((arrival) =>
  [false, true].map((share) => {
    const cache = share ? "Paged cache" : "No cache";
    const settings = { cache: cache.toLowerCase(), arrival };
    return { name: `${cache}, ${arrival}`, settings, arrival, share };
  })
);

/** Rounds of requests; a round is served when the previous one is done. */
interface Rounds {
  readonly requests: readonly Served[];
  readonly use: CacheUse;
  /** Requests whose prompt was partly cached. */
  readonly hits: number;
}

export const pagedCache: Suite = {
  name: "paged-cache",
  summary: "time and memory saved by a shared system prompt",
  summaryColumns: [
    {
      title: "Speedup, sequential",
      metric: CACHE_SPEEDUP.id,
      settings: { cache: "paged cache", arrival: "sequential" },
    },
    {
      title: "Speedup, concurrent",
      metric: CACHE_SPEEDUP.id,
      settings: { cache: "paged cache", arrival: "concurrent" },
    },
  ],
  needs: ({ maxTokens }) => ({
    sequences: REQUESTS,
    tokens: SYSTEM_TOKENS + OWN_TOKENS + maxTokens,
  }),
  async run(harness) {
    harness.plan(MODES.length);
    const rounds = makeRounds(harness);
    const runs = await measure(harness, rounds);
    const times = runs.map((servings) => servings.map(totalTime));
    const durations = modes(harness, rounds, runs);

    const table = harness.table(
      "What the cache saves",
      "Speedup | Blocks Allocated | Shared Blocks | Cache Hits | Tokens Saved | Block Hits | Time without (s) | Time with (s)",
    );
    for (const [i, { share, settings }] of MODES.entries()) {
      const at = harness.at(settings);
      const { use, hits } = runs[i]![0]!;
      const allocated = at.value(BLOCKS_ALLOCATED, use.blocksAllocated);
      if (!share) continue;
      table.row(
        at.ratio(CACHE_SPEEDUP, pairedRatios(times[i - 1]!, times[i]!)),
        allocated,
        at.value(BLOCKS_SHARED, use.blocksShared),
        at.value(REQUEST_HITS, hits),
        at.value(TOKENS_SAVED, use.tokensSaved),
        at.value(BLOCK_HITS, use.hits),
        durations[i - 1]!,
        durations[i]!,
      );
    }
    const same = runs.every((servings) =>
      servings.every((serving) => tokensOf(serving) === tokensOf(runs[0]![0]!))
    );
    table.note(
      "The first row is for sequential requests, the second for concurrent ones. " +
        `Blocks are counted when they are allocated; without a cache, ${
          count(runs[0]![0]!.use.blocksAllocated)
        } are allocated. Cache hits count requests; block hits count full blocks of prompts, of ${BLOCK_TOKENS} tokens each. The runs are interleaved; the speedup compares times of the same repetition.`,
      `Same tokens in all modes: ${same ? "yes" : "no; see the output check below"}`,
    );
  },
  charts: [
    bars("Throughput without and with the cache", THROUGHPUT, { by: "cache", series: "arrival" }),
  ],
};

/** Rounds of requests with a common system prompt, which is as long as the context allows. */
function makeRounds(harness: Harness): BenchRequest[][] {
  const { contextLength } = harness.report.environment.model;
  const room = contextLength - OWN_TOKENS - harness.runOptions.maxTokens;
  const system = harness.prompts(1, Math.min(SYSTEM_TOKENS, room))[0]!;
  const count = Math.min(REQUESTS, harness.target.limits.maxSequences);
  const own = harness.continuations(ROUNDS * count, OWN_TOKENS);
  const requests = harness.requests(own.map((ids) => [...system, ...ids]));
  return Array.from({ length: ROUNDS }, (_, i) => requests.slice(i * count, (i + 1) * count));
}

/**
 * Runs all modes in each repetition. A warm-up serves the first round alone, with short answers; if
 * requests are served one at a time, only two of them: one that misses the cache and one that hits
 * it.
 */
function measure(harness: Harness, rounds: readonly BenchRequest[][]): Promise<Rounds[][]> {
  const short = rounds.slice(0, 1).map((round) =>
    round.map((request) => ({ ...request, maxTokens: Math.min(request.maxTokens, SHORT) }))
  );
  return harness.interleave(
    MODES,
    ({ name }) => name,
    ({ share, arrival }, counts) =>
      harness.withSession({ sharePrefixes: share }, async (session) => {
        const requests: Served[] = [];
        let hits = 0;
        const warmUp = arrival === "sequential" ? [short[0]!.slice(0, 2)] : short;
        for (const round of counts ? rounds : warmUp) {
          const serving = await session.serve(round, { arrival });
          requests.push(...serving.requests);
          hits += requestHits(round, serving.blocks.hits);
        }
        return { requests, use: session.cacheUse, hits };
      }),
  );
}

/** Number of requests of a round that hit. A hit finds all full blocks of the system prompt. */
function requestHits([request]: readonly BenchRequest[], blockHits: number): number {
  const shared = Math.floor((request!.promptIds.length - OWN_TOKENS) / BLOCK_TOKENS);
  return blockHits / shared;
}

function modes(
  harness: Harness,
  rounds: readonly BenchRequest[][],
  runs: readonly Rounds[][],
): Result[] {
  const [round] = rounds;
  const { promptIds: { length: promptTokens }, maxTokens } = round![0]!;
  const table = harness.table("Modes", "Mode | Time (s) | Throughput (tok/s) | Cache Hit Rate");
  const durations: Result[] = [];
  for (const [i, { name, settings, arrival }] of MODES.entries()) {
    const at = harness.at(settings);
    const limit = harness.limit(arrival === "concurrent" ? REQUESTS : 1, promptTokens);
    const duration = at.measure(DURATION, runs[i]!.map(totalTime));
    durations.push(duration);
    const { hits, misses } = runs[i]![0]!.use;
    table.row(
      name,
      duration,
      at.measure(THROUGHPUT, runs[i]!.map(tokensPerSecond), limit),
      at.value(CACHE_HIT_RATE, 100 * hits / Math.max(1, hits + misses)),
    );
  }
  table.note(
    `${ROUNDS} rounds of ${round!.length} requests with ${
      promptTokens - OWN_TOKENS
    } tokens in common, ${OWN_TOKENS} of their own and ${maxTokens} generated.`,
  );
  return durations;
}

function tokensOf({ requests }: Rounds): string {
  return requests.map(({ ids }) => ids.join()).join(" ");
}
