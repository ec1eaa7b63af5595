/** Every report on scripted measurements, to the letter: fixtures/goldens/bench has them. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Bench } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { reportSchema } from "../../bench/report/report.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

const GOLDENS = fileURLToPath(new URL("../../fixtures/goldens/bench/", import.meta.url));
const REMAKE = Deno.args.includes("--remake-goldens");

for (const [name, suite] of Object.entries(SUITES)) {
  Deno.test(`bench ${name} prints its report, and writes the same as JSON`, async () => {
    const report = await Bench.run(name, suite, new ScriptedTarget(), RUN);
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
