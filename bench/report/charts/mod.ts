/** The charts of reports as one picture. It loads echarts: import it where a chart is asked for. */

import type { Report } from "../report.ts";
import { LEAST_INTERVAL_SAMPLES } from "../stats.ts";
import { drawBars } from "./bars.ts";
import { FONT, INK, WIDTH } from "./canvas.ts";
import { chartsOf } from "./chart.ts";
import { drawLines } from "./lines.ts";

const LINE = 20;
const MARGIN = 16;

/**
 * The charts of these reports under each other, as SVG text. What was measured on what is written
 * above them; numbers are medians, whiskers their 95 % intervals. Undefined if there is nothing to
 * draw, as no case was finished.
 */
export function drawReports(reports: readonly Report[]): string | undefined {
  const parts: string[] = [];
  let y = MARGIN;
  for (const report of reports) {
    const charts = chartsOf(report);
    if (charts.length === 0) continue;
    for (const [i, line] of heading(report).entries()) {
      y += LINE;
      const weight = i === 0 ? ' font-weight="bold" font-size="16"' : ' font-size="12"';
      parts.push(`<text x="${MARGIN}" y="${y}"${weight}>${escape(line)}</text>`);
    }
    y += MARGIN / 2;
    for (const chart of charts) {
      const svg = chart.kind === "bars" ? drawBars(chart) : drawLines(chart);
      parts.push(svg.replace("<svg ", `<svg x="0" y="${y}" `));
      y += Number(/ height="(\d+)"/.exec(svg)![1]);
    }
    y += MARGIN;
  }
  if (parts.length === 0) return undefined;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" ` +
    `viewBox="0 0 ${WIDTH} ${y}" font-family="${FONT}" fill="${INK}">\n` +
    `<rect width="100%" height="100%" fill="#ffffff"/>\n${parts.join("\n")}\n</svg>\n`;
}

function heading({ suite, complete, environment: { device, model, engine }, run }: Report) {
  return [
    `tvllm bench ${suite}${complete ? "" : " (cut off)"}`,
    `${model.name}, ${model.formats.join(" + ")}, on ${device.description} (${device.driver})`,
    `tvllm ${engine.tvllm}, ${run.date.slice(0, 10)}; ` +
    (run.repetitions === 1
      ? "one run"
      : `medians of ${run.repetitions} runs${
        run.repetitions < LEAST_INTERVAL_SAMPLES ? "" : ", whiskers are 95 % intervals"
      }`),
  ];
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
