/** Checks that docs/bench has a page for each suite, and that its example suite works as shown. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Harness, type Suite } from "../../bench/harness/harness.ts";
import { chartsOf } from "../../bench/report/charts/chart.ts";
import { definitions } from "../../bench/report/markdown.ts";
import { DEFINED } from "../../bench/report/metrics.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { numberOf, RUN, ScriptedTarget } from "./scripted_target.ts";

const DOCS = new URL("../../docs/bench/", import.meta.url);
const README = pageOf("README.md");

function pageOf(name: string): string {
  return Deno.readTextFileSync(fileURLToPath(new URL(name, DOCS)));
}

Deno.test("every suite has a page, and its summary in the table of docs/bench", () => {
  for (const { name, summary } of SUITES) {
    const page = pageOf(`${name}.md`);
    assert.ok(page.startsWith(`# tvllm bench ${name}\n`), name);
    const row = new RegExp(`^\\| \\[${name}\\]\\(${name}\\.md\\) +\\| (.*?) *\\|$`, "m").exec(
      README,
    );
    assert.equal(row?.[1], summary);
  }
});

Deno.test("the example suite of docs/bench measures, and draws its chart", async () => {
  const [, code] = /```ts\n(.*?)```/s.exec(pageOf("new-suite.md"))!;
  const base = new URL("../../bench/suites/", import.meta.url);
  const source = code!.replaceAll(
    /from "(\.[^"]*)"/g,
    (_, path) => `from "${new URL(path, base)}"`,
  );
  const url = `data:application/typescript,${encodeURIComponent(source)}`;
  const { queue } = await import(url) as { queue: Suite };
  const target = new ScriptedTarget();
  const report = await Harness.run(queue, target, { run: RUN });
  assert.ok(report.complete);
  // Each of two prompts of 64 tokens takes 2 ms, plus 0.125 ms per token; the median pace is 1.01.
  assert.ok(Math.abs(numberOf(report, "ttft", { requests: 2 }) - 1.01 * 2 * 10) < 0.3);
  assert.deepEqual(chartsOf(report).map(({ title }) => title), [queue.charts[0]!.title]);
  assert.deepEqual(queue.needs(RUN), { sequences: 2, tokens: RUN.promptTokens + RUN.maxTokens });
});

Deno.test("docs/metrics.md has the definitions that the program prints", () => {
  assert.ok(pageOf("../metrics.md").includes(definitions(DEFINED)));
  // Each metric is defined only once.
  assert.equal(new Set(DEFINED.map(({ id }) => id)).size, DEFINED.length);
});

Deno.test("the page on other benchmarks names existing suites, and tables of their reports", () => {
  const page = pageOf("other-benchmarks.md");
  assert.equal(page.match(/^## /gm)!.length, 5);
  const rows = page.split("\n").filter((line) => /^\| (?!figure |---)/.test(line))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  assert.ok(rows.length > 40, `${rows.length} rows`);
  for (const [row, suites, title] of rows) {
    if (suites === "all" || title!.startsWith("`") || title === "-") continue;
    for (const suite of suites!.split(", ")) {
      const known = SUITES.find(({ name }) => name === suite);
      assert.ok(known, suite);
      const path = new URL(`../../fixtures/goldens/bench/${suite}.json`, import.meta.url);
      const { tables } = JSON.parse(Deno.readTextFileSync(fileURLToPath(path)));
      const titles: string[] = tables.map((one: { title: string }) => one.title);
      const several = known.summaryColumns === undefined ? [] : [`Results of ${suite}`];
      // Scripted runs have no baseline.
      const all = [...titles, ...several, "Against the CPU backend"];
      assert.ok(all.some((one) => one.startsWith(title!)), `${row}: ${title} in ${suite}`);
    }
  }
});
