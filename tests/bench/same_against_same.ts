/**
 * Measures how often `tvllm compare` calls runs of the same program different. Draws the runs from
 * a folder of recorded reports (`tvllm bench latency --json`, forty or more) and compares them.
 *
 * deno run --allow-read tests/bench/same_against_same.ts FOLDER [RUNS A SIDE]
 */

import { join } from "node:path";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { compare } from "../../bench/report/comparison/comparison.ts";
import { keyOf, reportSchema } from "../../bench/report/report.ts";

const COMPARISONS = 1000;

const [folder = ".", runs = "1"] = Deno.args;
const reports = [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".json"))
  .map(({ name }) => reportSchema.parse(JSON.parse(Deno.readTextFileSync(join(folder, name)))));
const random = new RandomSource(1);
const judged = new Map<string, number>();
const different = new Map<string, number>();
for (let i = 0; i < COMPARISONS; i++) {
  // Each report is drawn at most once, because a run does not differ from itself.
  const drawn = reports.map((report) => ({ report, at: random.uint32() }))
    .sort((a, b) => a.at - b.at).map(({ report }) => report);
  const side = (name: string, from: number) => ({
    name,
    reports: drawn.slice(from, from + Number(runs)),
  });
  const { parts } = compare(side("A", 0), side("B", Number(runs)));
  for (const row of parts.flatMap(({ rows }) => rows)) {
    if (row.verdict === "unknown") continue;
    const key = keyOf(row);
    judged.set(key, (judged.get(key) ?? 0) + 1);
    if (row.verdict !== "no difference shown") different.set(key, (different.get(key) ?? 0) + 1);
  }
}
console.log(`${reports.length} runs, ${COMPARISONS} comparisons of ${runs} with ${runs}`);
for (const [key, count] of judged) {
  console.log(`${key}: ${different.get(key) ?? 0} of ${count} called different`);
}
