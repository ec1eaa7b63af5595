/** Charts of the scripted reports: their texts and shapes, not the exact SVG of echarts. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { chartsOf } from "../../bench/report/charts/chart.ts";
import { drawChart, drawReports } from "../../bench/report/charts/mod.ts";
import { toPng } from "../../bench/report/charts/png.ts";
import type { Report } from "../../bench/report/report.ts";
import { SUITES } from "../../bench/suites/mod.ts";

function golden(suite: string): Report {
  const path = new URL(`../../fixtures/goldens/bench/${suite}.json`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(fileURLToPath(path)));
}

/** The texts of a picture, in the order of the SVG file. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!);
}

/** Throws unless each tag has its closing tag, as XML requires. */
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

Deno.test("a bar chart shows names, values and unit, and its bars are proportional to the values", () => {
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
    const text of [
      "requests at once",
      "tok/s",
      "if N requests were N times as fast as one (computed)",
    ]
  ) {
    assert.ok(texts(svg).includes(text), text);
  }
});

Deno.test("several reports are drawn one below the other, and a cut-off one as far as it goes", () => {
  const [first, second] = [golden("latency"), golden("memory")];
  const both = drawReports([first, second])!;
  const height = (svg: string) => Number(/<svg [^>]*height="(\d+)"/.exec(svg)![1]);
  assert.ok(height(both) > height(drawReports([first])!) + 300);
  const results = first.results.filter(({ settings }) => !("context" in settings));
  assert.equal(drawReports([{ ...first, complete: false, results }]), undefined);
  const cut = { ...second, complete: false, results: second.results.slice(0, 5) };
  assert.ok(texts(drawReports([cut])!).includes("tvllm bench memory (cut off)"));
});

Deno.test("names are escaped, whatever they contain", () => {
  const report = golden("latency");
  report.environment.model.name = `<b>&"x`;
  const svg = drawReports([report])!;
  assertWellFormed(svg);
  assert.match(svg, /&lt;b&gt;&amp;&quot;x/);
});

Deno.test("toPng() draws text without system fonts", () => {
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

Deno.test("each series has a line of its own, or its name in those of its bars", () => {
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

Deno.test("a chart has results of one kind: prompts' kernels are not among those of decode steps", () => {
  const [, decode, prompt] = chartsOf(golden("breakdown"));
  assert.ok(decode?.kind === "bars" && prompt?.kind === "bars");
  for (const { bars } of [decode, prompt]) {
    const names = bars.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  }
});

Deno.test("a roofline has the limits that were probed, and each kernel that computes", () => {
  const report = golden("breakdown");
  const chart = chartsOf(report).find(({ kind }) => kind === "roofline");
  assert.ok(chart?.kind === "roofline");
  assert.deepEqual([chart.bandwidth, chart.flops], [100, 1000]);
  const of = (metric: string) =>
    report.results.find((result) =>
      result.metric === metric && result.settings.kernel === "matmul_q8_0" &&
      result.settings.phase === "prefill"
    )!.value;
  const point = chart.points.find(({ name }) => name === "matmul_q8_0, prefill")!;
  assert.equal(point.rate, of("kernel_rate"));
  assert.equal(point.intensity, of("kernel_rate") / of("kernel_bandwidth"));
  const { spots } = drawChart(chart);
  // 129 of 1,000 GFLOPS: at 81 FLOP per byte, the arithmetic is the limit.
  assert.ok(spots.some(({ text }) => text.endsWith("81.3 FLOP per byte, 12.9 % of the roof")));
  assert.deepEqual(chartsOf({ ...report, limits: null }).filter((c) => c.kind === "roofline"), []);
});

Deno.test("spots are where the chart shows their numbers", () => {
  const [chart] = chartsOf(golden("prefix-cache"));
  const { spots, height } = drawChart(chart!, { width: 420, titled: false });
  assert.deepEqual(spots.map(({ text }) => text.split(" [")[0]), [
    "First request: 10.1",
    "Same prompt: 2.17",
    "Different prompt: 10",
    "Same beginning: 8.08",
    "Return to prompt 1: 2.17",
  ]);
  const [first, second, third] = spots;
  assert.ok(first!.x > third!.x && third!.x > second!.x && first!.x < 420);
  assert.ok(first!.y < second!.y && second!.y < third!.y && spots.at(-1)!.y < height);
});

Deno.test("scenarios are named with their tokens", () => {
  const chart = chartsOf(golden("scenarios")).find(({ kind }) => kind === "bars");
  assert.ok(chart?.kind === "bars");
  assert.deepEqual(chart.bars.map(({ name }) => name), [
    "S1, 16 + 32 tokens",
    "S2, 64 + 64 tokens",
  ]);
});

Deno.test("whiskers are explained and drawn only if intervals were measured", () => {
  const report = golden("latency");
  assert.match(drawReports([report])!, /whiskers are 95 % intervals/);
  for (const result of report.results) delete result.interval;
  assert.doesNotMatch(drawReports([report])!, /whiskers/);
  const strokes = (svg: string) => svg.match(/ stroke="#24292f"/g)?.length ?? 0;
  assert.equal(strokes(drawReports([report])!), 0);
  assert.ok(strokes(drawReports([golden("latency")])!) > 0);
});

Deno.test("dark pictures use no colour of light ones, and light ones have a dark rule for each", () => {
  const dark = drawReports([golden("latency")], { dark: true })!;
  assert.doesNotMatch(dark, /#24292f|#ffffff|#0072b2|#d8dee4/);
  const light = drawReports([golden("latency")])!;
  const rules = /@media \(prefers-color-scheme: dark\) \{(.*)\}<\/style>/.exec(light)![1]!;
  for (const [, colour] of light.matchAll(/ (?:fill|stroke)="(#[0-9a-f]{6})"/g)) {
    if (colour === "#3c3c41") continue; // of frames without width
    assert.ok(rules.includes(`="${colour}"]`), colour);
  }
});
