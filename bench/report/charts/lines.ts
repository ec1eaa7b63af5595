/** A line chart as SVG text. */

import { AROUND_ALL, COLOURS, draw, INK, numberAxis } from "./canvas.ts";
import type { LineChart } from "./chart.ts";
import { whiskers } from "./whiskers.ts";

const HEIGHT = 320;
const DASHES = "path://M0 0h8v2h-8zM12 0h8v2h-8z";

/** Draws each line with its points and their whiskers; several lines have a legend. */
export function drawLines({ title, xAxis, yAxis, logarithmic, lines }: LineChart): string {
  const scale = logarithmic ? { type: "log" } : {};
  const several = lines.length > 1;
  const measured = lines.filter(({ computed }) => !computed).flatMap(({ points }) => points);
  return draw(title, HEIGHT, {
    grid: { ...AROUND_ALL, left: 30, right: 40, top: several ? 80 : 54, bottom: 14 },
    legend: {
      show: several,
      left: 11,
      top: 38,
      itemGap: 30, // names are wider than echarts reckons
      textStyle: { color: INK },
      data: lines.map(({ name, computed }) => ({ name, ...(computed && { icon: DASHES }) })),
    },
    xAxis: {
      ...numberAxis(xAxis),
      ...scale,
      nameLocation: "middle",
      nameGap: 28,
      minInterval: logarithmic ? 0 : 1,
    },
    yAxis: { ...numberAxis(yAxis), ...scale },
    series: [
      ...lines.map(({ name, computed, points }, i) => ({
        type: "line",
        silent: true,
        name,
        data: points.map(({ x, value }) => [x, value]),
        symbol: computed ? "none" : "circle",
        symbolSize: 7,
        lineStyle: { width: 2, type: computed ? "dashed" : "solid" },
        color: COLOURS[i % COLOURS.length],
      })),
      whiskers(
        measured.map(({ x, ...mark }) => ({ ...mark, at: x })),
        false,
        (value) => logarithmic ? value / 2 : 0, // a logarithmic axis has no zero
      ),
    ],
  });
}
