/** Reports of several configurations can be told apart wherever they are shown together. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { drawReports } from "../../bench/report/charts/mod.ts";
import { reportsPage } from "../../bench/report/html/mod.ts";
import { type Report, reportSchema } from "../../bench/report/report.ts";
import { summaries } from "../../bench/report/summary.ts";
import { latency } from "../../bench/suites/latency.ts";

const GOLDEN = fileURLToPath(new URL("../../fixtures/goldens/bench/latency.json", import.meta.url));

function report(threads: number, kvType: "f16" | "f32", kind: "gpu" | "cpu" = "gpu"): Report {
  const made = reportSchema.parse(JSON.parse(Deno.readTextFileSync(GOLDEN)));
  made.environment.host.threads = threads;
  made.environment.engine.kvType = kvType;
  made.environment.device.kind = kind;
  return made;
}

/** The first columns of the summary. */
function columns(reports: readonly Report[], count: number): string[][] {
  const [table] = summaries(reports, [latency]);
  return table!.split("\n").filter((line) => /^\| [^-]/.test(line))
    .map((line) => line.split("|").slice(1, 1 + count).map((cell) => cell.trim()));
}

const SWEEP = [report(1, "f16"), report(1, "f32"), report(2, "f16"), report(2, "f32")];

Deno.test("a summary has a column for each part of the configuration that differs", () => {
  assert.deepEqual(columns(SWEEP, 5), [
    ["Model", "Format", "Threads", "KV type", "Gen Speed"],
    ...["1", "2"].flatMap((threads) =>
      ["f16", "f32"].map((
        kvType,
      ) => ["tiny", "Q8_0", threads, kvType, "424.5 [420.3, 428.7] tok/s"])
    ),
  ]);
  assert.deepEqual(columns([report(1, "f16"), report(1, "f16", "cpu")], 4), [
    ["Model", "Format", "Device", "Gen Speed"],
    ["tiny", "Q8_0", "Scripted 3000", "424.5 [420.3, 428.7] tok/s"],
    ["tiny", "Q8_0", "CPU", "424.5 [420.3, 428.7] tok/s"],
  ]);
  assert.deepEqual(columns([SWEEP[0]!, SWEEP[0]!], 3)[0], ["Model", "Format", "Gen Speed"]);
});

Deno.test("charts and pages name the configurations of their reports if they differ", () => {
  const wanted = "2 threads, f32 KV cache";
  assert.ok(drawReports(SWEEP)!.includes(`on Scripted 3000 (hardware), ${wanted}<`));
  assert.ok(reportsPage(SWEEP).includes(`latency, tiny on Scripted 3000, ${wanted}<`));
  assert.doesNotMatch(drawReports([SWEEP[3]!])!, /KV cache</);
});
