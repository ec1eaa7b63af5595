/** Requests that share a system prompt, with and without the cache that keeps its blocks. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { type Harness, type Suite } from "../harness/harness.ts";
import { tokensPerSecond, totalTime } from "../harness/timings.ts";
import { count } from "../report/format.ts";
import {
  bars,
  CACHE_HITS,
  DURATION,
  type Metric,
  THROUGHPUT,
  TOKENS_SAVED,
} from "../report/metrics.ts";
import { pairedRatio } from "../report/stats.ts";
import type { BenchRequest, CacheUse, Served } from "../targets/target.ts";

/** Time without the cache over the time with it. */
const CACHE_SPEEDUP: Metric = { id: "cache_speedup", unit: "x" };
/** Blocks that were handed out, and that served more than one request. */
const BLOCKS_ALLOCATED: Metric = { id: "blocks_allocated", unit: "" };
const BLOCKS_SHARED: Metric = { id: "blocks_shared", unit: "" };

const ROUNDS = 2;
const REQUESTS = 10;
const SYSTEM_TOKENS = 286;
const OWN_TOKENS = 10;

const MODES = (["sequential", "concurrent"] as const).flatMap((arrival) =>
  [false, true].map((share) => {
    const cache = share ? "Paged cache" : "No cache";
    const settings = { cache: cache.toLowerCase(), arrival };
    return { name: `${cache}, ${arrival}`, settings, arrival, share };
  })
);

/** Rounds of requests, each served when the one before is done. */
interface Rounds {
  readonly requests: readonly Served[];
  readonly use: CacheUse;
}

export const pagedCache: Suite = {
  name: "paged-cache",
  summary: "what requests with a common system prompt gain from it",
  needs: ({ maxTokens }) => ({
    sequences: REQUESTS,
    tokens: SYSTEM_TOKENS + OWN_TOKENS + maxTokens,
  }),
  async run(harness) {
    const rounds = makeRounds(harness);
    const runs = await measure(harness, rounds);
    const times = runs.map((servings) => servings.map(totalTime));
    modes(harness, rounds, runs);

    const table = harness.table(
      "What the cache saves",
      "Speedup | Blocks Allocated | Shared Blocks | Cache Hits | Tokens Saved",
    );
    for (const [i, { share, settings }] of MODES.entries()) {
      const at = harness.at(settings);
      const { use } = runs[i]![0]!;
      const allocated = at.value(BLOCKS_ALLOCATED, use.blocksAllocated);
      if (!share) continue;
      table.row(
        at.value(CACHE_SPEEDUP, pairedRatio(times[i - 1]!, times[i]!)),
        allocated,
        at.value(BLOCKS_SHARED, use.blocksShared),
        at.value(CACHE_HITS, use.hits),
        at.value(TOKENS_SAVED, use.tokensSaved),
      );
    }
    const same = runs.every((servings) =>
      servings.every((serving) => tokensOf(serving) === tokensOf(runs[0]![0]!))
    );
    table.note(
      "The first row is of sequential, the second of concurrent requests. " +
        `Blocks are counted as they are handed out; without a cache they are ${
          count(runs[0]![0]!.use.blocksAllocated)
        }. Hits are full blocks of prompts, of ${BLOCK_TOKENS} tokens each.`,
      `Same tokens in all modes: ${same ? "yes" : "no"}`,
    );
    harness.check(
      "same tokens in all modes",
      same,
      "with and without the cache, one by one and at once",
    );
  },
  charts: [
    bars("Throughput without and with the cache", THROUGHPUT, { by: "cache", series: "arrival" }),
  ],
};

/** Requests whose prompts begin alike, as long as the context allows. */
function makeRounds(harness: Harness): BenchRequest[][] {
  const { contextLength } = harness.report.environment.model;
  const room = contextLength - OWN_TOKENS - harness.runOptions.maxTokens;
  const system = harness.prompts(1, Math.min(SYSTEM_TOKENS, room))[0]!;
  const count = Math.min(REQUESTS, harness.target.limits.maxSequences);
  const own = harness.prompts(ROUNDS * count, OWN_TOKENS);
  const requests = harness.requests(own.map((ids) => [...system, ...ids]));
  return Array.from({ length: ROUNDS }, (_, i) => requests.slice(i * count, (i + 1) * count));
}

/** Every mode in each repetition. A warm-up is one request in each mode, not all of them. */
function measure(harness: Harness, rounds: readonly BenchRequest[][]): Promise<Rounds[][]> {
  return harness.interleave(
    MODES,
    ({ name }) => name,
    ({ share, arrival }, counts) =>
      harness.withSession({ sharePrefixes: share }, async (session) => {
        const requests: Served[] = [];
        for (const round of counts ? rounds : [rounds[0]!.slice(0, 1)]) {
          requests.push(...(await session.serve(round, { arrival })).requests);
        }
        return { requests, use: session.cacheUse };
      }),
  );
}

function modes(
  harness: Harness,
  rounds: readonly BenchRequest[][],
  runs: readonly Rounds[][],
): void {
  const [round] = rounds;
  const { promptIds: { length: promptTokens }, maxTokens } = round![0]!;
  const table = harness.table("Modes", "Mode | Time (s) | Throughput (tok/s)");
  for (const [i, { name, settings, arrival }] of MODES.entries()) {
    const at = harness.at(settings);
    const limit = harness.limit(arrival === "concurrent" ? REQUESTS : 1, promptTokens);
    table.row(
      name,
      at.measure(DURATION, runs[i]!.map(totalTime)),
      at.measure(THROUGHPUT, runs[i]!.map(tokensPerSecond), limit),
    );
  }
  table.note(
    `${ROUNDS} rounds of ${round!.length} requests with ${
      promptTokens - OWN_TOKENS
    } tokens in common, ${OWN_TOKENS} of their own and ${maxTokens} generated.`,
  );
}

function tokensOf({ requests }: Rounds): string {
  return requests.map(({ ids }) => ids.join()).join(" ");
}
