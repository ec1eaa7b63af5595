/**
 * Shows what `tvllm bench ab` finds on this machine, by races of the built-in model against itself.
 * One side is slowed down by a share of each run's time.
 *
 * deno run -A tests/bench/race_trials.ts SLOWDOWN TRIALS BUDGET_S, as in 0.1 100 60
 */

import { fileURLToPath } from "node:url";
import { race } from "../../bench/harness/race.ts";
import { endToEnd } from "../../bench/harness/timings.ts";
import { medianOf } from "../../bench/report/stats.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { loadModel, openGguf } from "../../mod.ts";
import { PROGRAM } from "./scripted_target.ts";

const [slowdown = 0, trials = 20, budget = 60] = Deno.args.map(Number);
const path = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));
const model = await loadModel(openGguf(path), { device: "cpu", threads: 1 });
const target = await EngineTarget.open(model, PROGRAM);
const promptIds = target.text.encode("Once upon a time").slice(0, 4);

async function run(share: number) {
  const { requests: [served] } = await target.withSession(
    {},
    (session) => session.serve([{ promptIds, maxTokens: 16 }]),
  );
  const time = endToEnd(served!);
  const end = performance.now() + share * time;
  while (performance.now() < end); // keeps the processor busy, as slower code would
  return { e2e: time * (1 + share) };
}

const found = { difference: 0, equal: 0, budget: 0, interrupted: 0 };
const seconds: number[] = [];
for (let seed = 1; seed <= trials; seed++) {
  const start = performance.now();
  const { ending } = await race(() => run(0), () => run(slowdown), {
    metric: "e2e",
    margin: 0.001,
    budget: 1000 * budget,
    warmUps: 1,
    seed,
    now: () => performance.now(),
  });
  found[ending!]++;
  seconds.push((performance.now() - start) / 1000);
}
await model.close();
console.log(
  `${
    100 * slowdown
  } % slower, ${trials} races of at most ${budget} s: ${found.difference} differ, ` +
    `${medianOf(seconds).toFixed(1)} s in the median, ${Math.max(...seconds).toFixed(1)} s at most`,
);
