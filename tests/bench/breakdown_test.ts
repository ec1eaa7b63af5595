/** The breakdown of scripted steps that differ from those of the golden report. */

import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { breakdown } from "../../bench/suites/breakdown.ts";
import type { Serving } from "../../bench/targets/target.ts";
import { numberOf, RUN, ScriptedTarget } from "./scripted_target.ts";

Deno.test("dispatches per token are counted in decode steps, not in those of the prompt", async () => {
  class Target extends ScriptedTarget {
    override serve(...args: Parameters<ScriptedTarget["serve"]>): Serving {
      const serving = super.serve(...args);
      const [first, ...others] = serving.steps;
      // A step of the prompt that chooses no token has fewer kernels.
      const prompt = { ...first!, ...(first!.kernels && { kernels: first!.kernels.slice(0, 2) }) };
      return { ...serving, steps: [prompt, prompt, ...others] };
    }
  }
  const report = await Harness.run(breakdown, new Target(), { run: RUN });
  assert.equal(numberOf(report, "dispatches_per_token"), 5);
});

Deno.test("a breakdown of two tokens says what is not known, and why", async () => {
  const run = { ...RUN, maxTokens: 2, repetitions: 1, warmup: 0 };
  const report = await Harness.run(breakdown, new ScriptedTarget(), { run });
  const text = toMarkdown(report);
  assert.match(text, /are not known: at least 4 decode submits are needed \(raise --max-tokens\)/);
  assert.match(text, /Idle GPU time per token +\| not known: at least 4 decode submits are needed/);
  assert.doesNotMatch(text, /NaN|Infinity|undefined/);
  for (const { metric, value } of report.results) assert.ok(value >= 0, metric);
});
