/** Whether equal prompts are computed once: hits and misses as expected, and what a hit saves. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import type { CachedServing } from "../targets/target.ts";
import { ttft } from "../harness/timings.ts";

export async function prefixCache(bench: Bench): Promise<void> {
  // A prompt without a full block of its own cannot hit.
  const length = Math.max(bench.run.promptTokens, BLOCK_TOKENS + 1);
  const [first, other] = bench.prompts(2, length);
  const requests = bench.requests([first!, first!, other!, first!]);
  const reference = await bench.repeat("without a cache", requests.slice(0, 1));
  const label = "with a cache";
  const [runs = []] = await bench.byTurns([requests], () => label, async (own, counts) => {
    const run = await bench.target.serveCached(own);
    if (counts) {
      bench.remember(
        label,
        own,
        run.map(({ served }) => served),
        run.flatMap(({ steps }) => steps),
      );
    }
    return run;
  });

  const table = bench.table("Prefix cache", ["Test", "Expected", "Actual", "Time", "Status"]);
  const tests = [
    ["First request", ["MISS"]],
    ["Same prompt", ["HIT"]],
    ["Different prompt", ["MISS", "PREFIX_HIT"]],
    ["Return to prompt 1", ["HIT"]],
  ] as const;
  for (const [i, [name, expected]] of tests.entries()) {
    const own = runs.map((run) => run[i]!);
    const outcomes = own.map((serving) => outcome(serving, requests[i]!.promptIds.length));
    const ok = outcomes.every((actual) => expected.some((e) => actual.startsWith(e)));
    const actual = [...new Set(outcomes)].join(", ");
    table.row(
      name,
      expected.join(" or "),
      actual,
      bench.measure(`TTFT, ${name}`, own.map(({ served }) => ttft(served)), "ms"),
      ok ? "ok" : "FAILED",
    );
    bench.check(name, ok, `${actual}, expected ${expected.join(" or ")}`);
  }
  table.say("Time is the TTFT.");
  totals(bench, runs, reference.map((run) => ttft(run.requests[0]!)));
}

/** A hit is all of the prompt's full blocks before its last token, which is always computed. */
function outcome({ tokensSaved }: CachedServing, promptTokens: number): string {
  if (tokensSaved === 0) return "MISS";
  const most = Math.floor((promptTokens - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
  return tokensSaved >= most ? "HIT" : `PREFIX_HIT (${tokensSaved} tok)`;
}

function totals(bench: Bench, runs: readonly CachedServing[][], without: readonly number[]): void {
  const table = bench.table("Cache", [
    "Cache Hits",
    "Cache Misses",
    "Hit Rate",
    "Tokens Saved",
    "Cached Speedup",
  ]);
  const [run] = runs;
  const sum = (key: "hits" | "misses" | "tokensSaved") =>
    run!.reduce((total, serving) => total + serving[key], 0);
  const [hits, misses] = [sum("hits"), sum("misses")];
  const cached = runs.flatMap((run) => [run[1]!, run[3]!]).map(({ served }) => ttft(served));
  table.row(
    value(hits, ""),
    value(misses, ""),
    value(100 * hits / Math.max(1, hits + misses), "%"),
    value(sum("tokensSaved"), ""),
    value(summarize(without).median / summarize(cached).median, "x"),
  );
  table.say(
    "Hits and misses are full blocks of prompts, of the four requests above once; the speedup is that of the TTFT of a prompt that is cached whole.",
  );
}
