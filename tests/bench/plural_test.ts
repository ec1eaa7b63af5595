import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { plural } from "../../engine/plural.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

/** The smallest values of all options of a run. */
const LEAST = {
  ...RUN,
  ...{ promptTokens: 1, maxTokens: 2, prompts: 1, warmup: 1, repetitions: 1 },
  ...{ concurrency: [1], contexts: [1], sequences: [1], promptTexts: ["Hello"] },
};

/** A plural after 1, except for units and verbs that look like one. */
const WRONG = /(?<![\d.,×/] ?)\b1 (?!(?:ms|tok\/s|is|was|has)\b)(?:[a-z]+ )?[a-z]+s\b/gi;

Deno.test("plural() leaves the noun unchanged only after 1", () => {
  const phrases = [0, 1, 2, 1n, 2n, 1.5].map((count) => `${count} ${plural(count, "token")}`);
  assert.deepEqual(phrases, [
    ...["0 tokens", "1 token", "2 tokens", "1 token", "2 tokens", "1.5 tokens"],
  ]);
  assert.deepEqual("1 prompts, 11 tokens, at 1 concurrent requests, 1 ms".match(WRONG), [
    "1 prompts",
    "1 concurrent requests",
  ]);
});

for (const suite of SUITES) {
  Deno.test(`bench ${suite.name} counts one prompt, one token and one request in the singular`, async () => {
    const report = await Harness.run(suite, new ScriptedTarget(), { run: LEAST });
    assert.deepEqual(toMarkdown(report, { explain: true }).match(WRONG), null);
  });
}
