/** Requests that share a system prompt, with and without the cache that keeps its blocks. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import type { BenchRequest, RoundsServing } from "../targets/target.ts";
import { tokensPerSecond, totalTime } from "../harness/timings.ts";

const ROUNDS = 2;
const REQUESTS = 10;
const SYSTEM_TOKENS = 286;
const OWN_TOKENS = 10;

const MODES = [
  { name: "sequential", arrival: "in-turn" },
  { name: "concurrent", arrival: "together" },
].flatMap((mode) =>
  [false, true].map((share) => ({
    ...mode,
    share,
    name: `${share ? "Paged cache" : "No cache"}, ${mode.name}`,
  }))
) as { name: string; arrival: "in-turn" | "together"; share: boolean }[];

export async function pagedCache(bench: Bench): Promise<void> {
  const rounds = makeRounds(bench);
  const runs = await measure(bench, rounds);
  const times = runs.map((servings) => servings.map(totalTime));

  const [prompt] = rounds[0]!;
  const promptTokens = prompt!.promptIds.length;
  const modes = bench.table("Modes", ["Mode", ["Time (s)", "s"], ["Throughput (tok/s)", "tok/s"]]);
  for (const [i, { name }] of MODES.entries()) {
    const rates = runs[i]!.map(tokensPerSecond);
    modes.row(
      name,
      bench.measure(`${name}, time`, times[i]!, "s"),
      bench.measure(
        name,
        rates,
        "tok/s",
        bench.limit(MODES[i]!.arrival === "together" ? REQUESTS : 1, promptTokens),
      ),
    );
  }
  modes.say(
    `${ROUNDS} rounds of ${rounds[0]!.length} requests with ${
      promptTokens - OWN_TOKENS
    } tokens in common, ${OWN_TOKENS} of their own and ${prompt!.maxTokens} generated.`,
  );

  const table = bench.table("What the cache saves", [
    "Speedup",
    "Blocks Allocated",
    "Shared Blocks",
    "Cache Hits",
    "Tokens Saved",
  ]);
  for (const [i, { share }] of MODES.entries()) {
    if (!share) continue;
    const [run] = runs[i]!;
    // Of the same repetition, so that what changes on the machine changes for both.
    const speedups = times[i]!.map((time, run) => times[i - 1]![run]! / time);
    table.row(
      value(summarize(speedups).median, "x"),
      value(run!.blocksAllocated, ""),
      value(run!.blocksShared, ""),
      value(run!.hits, ""),
      value(run!.tokensSaved, ""),
    );
  }
  const same = runs.every((servings) =>
    servings.every((serving) => tokensOf(serving) === tokensOf(runs[0]![0]!))
  );
  table.say(
    "The first row is of sequential, the second of concurrent requests. " +
      `Blocks are counted as they are handed out; without a cache they are ${
        runs[0]![0]!.blocksAllocated
      }. Hits are full blocks of prompts, of ${BLOCK_TOKENS} tokens each.`,
    `Same tokens in all modes: ${same ? "yes" : "no"}`,
  );
  bench.check(
    "same tokens in all modes",
    same,
    "with and without the cache, one by one and at once",
  );
}

/** Requests whose prompts begin alike, as long as the context allows. */
function makeRounds(bench: Bench): BenchRequest[][] {
  const { contextLength } = bench.report.environment.model;
  const room = contextLength - OWN_TOKENS - bench.run.maxTokens;
  const system = bench.prompts(1, Math.min(SYSTEM_TOKENS, room))[0]!;
  const count = Math.min(REQUESTS, bench.target.limits.maxSequences);
  const own = bench.prompts(ROUNDS * count, OWN_TOKENS);
  const requests = bench.requests(own.map((ids) => [...system, ...ids]));
  return Array.from({ length: ROUNDS }, (_, i) => requests.slice(i * count, (i + 1) * count));
}

/** Every mode in each repetition. A warm-up is one request in each mode, not all of them. */
function measure(bench: Bench, rounds: BenchRequest[][]): Promise<RoundsServing[][]> {
  return bench.byTurns(MODES, ({ name }) => name, async ({ name, ...mode }, counts) => {
    const own = counts ? rounds : [rounds[0]!.slice(0, 1)];
    const serving = await bench.target.serveRounds(own, mode);
    if (counts) bench.remember(name, own.flat(), serving.requests, serving.steps);
    return serving;
  });
}

function tokensOf({ requests }: RoundsServing): string {
  return requests.map(({ ids }) => ids.join()).join(" ");
}
