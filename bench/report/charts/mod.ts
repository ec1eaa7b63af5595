/** Draws the charts of reports as one picture. It loads echarts, so import it only when needed. */

import { type ConfigurationPart, configurationTexts, differingOptions } from "../configuration.ts";
import type { Report } from "../report.ts";
import { drawBars } from "./bars.ts";
import { DARK, type Drawing, escape, FONT, INK, PAPER, type Size, WIDTH } from "./canvas.ts";
import { type Chart, chartsOf } from "./chart.ts";
import { drawLines } from "./lines.ts";
import { drawRatios } from "./ratios.ts";
import { drawRoofline } from "./roofline.ts";

const LINE = 20;
const MARGIN = 16;

/**
 * The charts of these reports below each other, as SVG text. The headings say what was measured on
 * what; numbers are medians, and whiskers are their 95 % intervals. The picture is dark on a dark
 * page if its viewer supports that, and always with `dark`. Undefined if there is nothing to draw,
 * as no case was finished.
 */
export function drawReports(
  reports: readonly Report[],
  { dark = false }: { readonly dark?: boolean } = {},
): string | undefined {
  const parts: string[] = [];
  const differing = differingOptions(reports);
  let y = MARGIN;
  for (const report of reports) {
    const charts = chartsOf(report);
    if (charts.length === 0) continue;
    for (const [i, line] of heading(report, charts, differing).entries()) {
      y += LINE;
      const weight = i === 0 ? ' font-weight="bold" font-size="16"' : ' font-size="12"';
      parts.push(`<text x="${MARGIN}" y="${y}"${weight}>${escape(line)}</text>`);
    }
    y += MARGIN / 2;
    for (const chart of charts) {
      const { svg, height } = drawChart(chart);
      parts.push(svg.replace("<svg ", `<svg x="0" y="${y}" `));
      y += height;
    }
    y += MARGIN;
  }
  if (parts.length === 0) return undefined;
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" ` +
    `viewBox="0 0 ${WIDTH} ${y}" font-family="${FONT}" fill="${INK}">\n` +
    (dark ? "" : `<style>@media (prefers-color-scheme: dark) {${darkRules()}}</style>\n`) +
    `<rect width="100%" height="100%" fill="${PAPER}"/>\n${parts.join("\n")}\n</svg>\n`;
  return dark
    ? picture.replaceAll(/#[0-9a-f]{6}\b/g, (colour) => DARK.get(colour) ?? colour)
    : picture;
}

/** Draws one chart. */
export function drawChart(chart: Chart, size: Size = {}): Drawing {
  switch (chart.kind) {
    case "bars":
      return drawBars(chart, size);
    case "lines":
      return drawLines(chart, size);
    case "roofline":
      return drawRoofline(chart, size);
    case "ratios":
      return drawRatios(chart, size);
  }
}

/** CSS that replaces the colours of drawings by those for a dark background. */
export function darkRules(): string {
  return [...DARK].map(([light, dark]) =>
    `[fill="${light}"]{fill:${dark}}[stroke="${light}"]{stroke:${dark}}`
  ).join("");
}

function heading(
  report: Report,
  charts: readonly Chart[],
  parts: readonly ConfigurationPart[],
): string[] {
  const { suite, complete, environment: { device, model, engine }, run } = report;
  const whiskers = charts.some((chart) =>
    chart.kind === "bars"
      ? chart.bars.some(({ interval }) => interval)
      : chart.kind === "lines" && chart.lines.some(({ points }) => points.some((p) => p.interval))
  );
  return [
    `tvllm bench ${suite}${complete ? "" : " (cut off)"}`,
    [
      `${model.name}, ${model.formats.join(" + ")}, on ${device.description} (${device.driver})`,
      ...configurationTexts(report, parts),
    ].join(", "),
    `tvllm ${engine.tvllm}, ${run.date.slice(0, 10)}; ` +
    (run.repetitions === 1
      ? "one run"
      : `medians of ${run.repetitions} runs${whiskers ? ", whiskers are 95 % intervals" : ""}`),
  ];
}
