/** Charts of the scripted reports: what is written and drawn, not how echarts spells it. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { chartsOf } from "../../bench/report/charts/chart.ts";
import { drawReports } from "../../bench/report/charts/mod.ts";
import { toPng } from "../../bench/report/charts/png.ts";
import type { Report } from "../../bench/report/report.ts";
import { SUITES } from "../../bench/suites/mod.ts";

function golden(suite: string): Report {
  const path = new URL(`../../fixtures/goldens/bench/${suite}.json`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(fileURLToPath(path)));
}

/** The texts of a picture, from the top of the file. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!);
}

/** Throws unless each tag is closed by its own, as XML wants it. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)(?:"[^"]*"|[^">])*?(\/?)>/gi)) {
    if (close) assert.equal(open.pop(), name);
    else if (!self) open.push(name!);
  }
  assert.deepEqual(open, []);
}

for (const { name: suite, charts } of SUITES) {
  Deno.test(`the charts of bench ${suite} are drawn with nothing missing`, () => {
    const report = golden(suite);
    // The context is too short for S6.
    const missing = suite === "scenarios" ? 1 : 0;
    assert.equal(chartsOf(report).length, charts.length - missing);
    const svg = drawReports([report])!;
    assertWellFormed(svg);
    assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
    for (const { title } of chartsOf(report)) assert.ok(texts(svg).includes(title), title);
  });
}

Deno.test("a bar chart has its names, values, unit and bars as long as the values", () => {
  const svg = drawReports([golden("prefix-cache")])!;
  assert.deepEqual(texts(svg).filter((text) => !/^\d+$/.test(text)), [
    "tvllm bench prefix-cache",
    "tiny, Q8_0 + F32, on Scripted 3000 (hardware)",
    "tvllm 1.2.3, 2026-01-02; medians of 7 runs, whiskers are 95 % intervals",
    "ms",
    "First request",
    "Same prompt",
    "Different prompt",
    "Same beginning",
    "Return to prompt 1",
    "Time to the first token",
    ...["10.1", "2.17", "8.08", "2.17"],
  ]);
  const bars = [...svg.matchAll(/d="M[\d.]+ [\d.]+l([\d.]+) 0l[^"]*Z" fill="#0072b2"/g)]
    .map(([, length]) => Number(length));
  const [longest] = bars;
  assert.equal(bars.length, 5);
  for (const [i, ms] of [10.1, 2.17, 10, 8.08, 2.17].entries()) {
    assert.ok(Math.abs(bars[i]! / longest! - ms / 10.1) < 0.01, String(bars));
  }
});

Deno.test("a line chart names its axes, and says which line is computed", () => {
  const svg = drawReports([golden("scalability")])!;
  for (
    const text of ["requests at once", "tok/s", "if each request were as fast as one (computed)"]
  ) {
    assert.ok(texts(svg).includes(text), text);
  }
});

Deno.test("several reports stand under each other, and a cut-off one shows what it has", () => {
  const [first, second] = [golden("latency"), golden("memory")];
  const both = drawReports([first, second])!;
  const height = (svg: string) => Number(/<svg [^>]*height="(\d+)"/.exec(svg)![1]);
  assert.ok(height(both) > height(drawReports([first])!) + 300);
  const results = first.results.filter(({ settings }) => !("context" in settings));
  assert.equal(drawReports([{ ...first, complete: false, results }]), undefined);
  const cut = { ...second, complete: false, results: second.results.slice(0, 5) };
  assert.ok(texts(drawReports([cut])!).includes("tvllm bench memory (cut off)"));
});

Deno.test("names are text, whatever they hold", () => {
  const report = golden("latency");
  report.environment.model.name = `<b>&"x`;
  const svg = drawReports([report])!;
  assertWellFormed(svg);
  assert.match(svg, /&lt;b>&amp;"x/);
});

Deno.test("toPng() draws letters with no font of the system", () => {
  const blank = '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="50">';
  const png = toPng(`${blank}<text x="10" y="30" font-family="DejaVu Sans">ms</text></svg>`);
  assert.deepEqual([...png.subarray(1, 4)], [...new TextEncoder().encode("PNG")]);
  const view = new DataView(png.buffer, png.byteOffset);
  assert.deepEqual([view.getUint32(16), view.getUint32(20)], [600, 100]);
  assert.ok(png.length > toPng(`${blank}</svg>`).length);
});

Deno.test("a line goes from left to right, whatever the order of the results", () => {
  const report = golden("latency");
  report.results.reverse();
  assert.deepEqual(chartsOf(report), chartsOf(golden("latency")));
});

Deno.test("a series has a line of its own, and its name beside that of a bar", () => {
  const [detokenizer] = chartsOf(golden("detokenizer"));
  assert.ok(detokenizer?.kind === "lines");
  assert.deepEqual(detokenizer.lines.map(({ name, points }) => [name, points.length]), [
    ["decode()", 7],
    ["full decode", 7],
    ["streaming", 7],
  ]);
  const [throughput] = chartsOf(golden("throughput"));
  assert.ok(throughput?.kind === "bars");
  assert.deepEqual(throughput.bars.map(({ name }) => name), [
    "single, requests 1",
    "sequential, requests 2",
    "concurrent, requests 2",
    "staggered, requests 2",
  ]);
});
