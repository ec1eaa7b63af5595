/** What a breakdown says of scripted steps that are not as in the golden report. */

import assert from "node:assert/strict";
import { Bench } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import type { BenchRequest, ServeOptions, Serving } from "../../bench/targets/target.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

Deno.test("dispatches per token are those of decode steps, and not of the prompt's", async () => {
  class Target extends ScriptedTarget {
    override async serve(
      requests: readonly BenchRequest[],
      options?: ServeOptions,
    ): Promise<Serving> {
      const serving = await super.serve(requests, options);
      const [first, ...others] = serving.steps;
      // A step of the prompt that chooses nothing has fewer kernels.
      const prompt = { ...first!, ...(first!.kernels && { kernels: first!.kernels.slice(0, 2) }) };
      return { ...serving, steps: [prompt, prompt, ...others] };
    }
  }
  const report = await Bench.run("breakdown", SUITES.breakdown!, new Target(), RUN);
  const row = report.tables[2]!.rows.find(([name]) => name === "Dispatches per token");
  assert.deepEqual(row?.[1], { value: 5, unit: "" });
});

Deno.test("a breakdown of two tokens says what they do not tell, and why", async () => {
  const run = { ...RUN, maxTokens: 2, repetitions: 1, warmup: 0 };
  const report = await Bench.run("breakdown", SUITES.breakdown!, new ScriptedTarget(), run);
  const text = toMarkdown(report);
  assert.match(text, /not taken off, .* it takes 4 submits that decode; a larger --max-tokens/);
  assert.match(text, /Idle GPU time per token +\| not known: it takes 4 submits that decode/);
  assert.doesNotMatch(text, /NaN|Infinity|undefined/);
  for (const cell of report.tables.flatMap(({ rows }) => rows.flat())) {
    if (typeof cell === "object") assert.ok(cell.value >= 0);
  }
});
