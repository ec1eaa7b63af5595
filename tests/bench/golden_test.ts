/** Every report on scripted measurements, to the letter: fixtures/goldens/bench has them. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Harness } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { reportSchema, type RunOptions } from "../../bench/report/report.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

const GOLDENS = fileURLToPath(new URL("../../fixtures/goldens/bench/", import.meta.url));
/** Options of suites that measure nothing worth a golden without them. */
const OPTIONS: Readonly<Record<string, RunOptions["suiteOptions"]>> = {
  speed: { pg: "64+5", depth: "0,64", batch: "32,64" },
};
const REMAKE = Deno.args.includes("--remake-goldens");

for (const suite of SUITES) {
  const { name } = suite;
  Deno.test(`bench ${name} prints its report, and writes the same as JSON`, async () => {
    const report = await Harness.run(suite, new ScriptedTarget(), {
      run: { ...RUN, suiteOptions: OPTIONS[name] ?? {} },
    });
    const json = `${JSON.stringify(report, null, 1)}\n`;
    for (const [ending, text] of [["md", toMarkdown(report)], ["json", json]]) {
      const path = `${GOLDENS}${name}.${ending}`;
      if (REMAKE) Deno.writeTextFileSync(path, text!);
      assert.equal(text, Deno.readTextFileSync(path));
    }
    assert.deepEqual(reportSchema.parse(JSON.parse(json)), report);
    assert.ok(report.complete);
  });
}

Deno.test("a metric has the same unit in all suites", () => {
  const units = new Map<string, string>();
  for (const { name } of SUITES) {
    const { results } = reportSchema.parse(
      JSON.parse(Deno.readTextFileSync(`${GOLDENS}${name}.json`)),
    );
    for (const { metric, unit } of results) {
      assert.equal(unit, units.get(metric) ?? unit, `${metric} in ${name}`);
      units.set(metric, unit);
    }
  }
});
