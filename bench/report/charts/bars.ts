/** A bar chart as SVG text. */

import { AROUND_ALL, draw, INK, numberAxis } from "./canvas.ts";
import type { BarChart } from "./chart.ts";
import { whiskers } from "./whiskers.ts";

const BAR = 30;
const AROUND = 100;

/** Draws the bars under each other, each with its name and value. */
export function drawBars({ title, axis, bars }: BarChart): string {
  return draw(title, AROUND + BAR * bars.length, {
    grid: { ...AROUND_ALL, left: 40, right: 90, top: 44, bottom: 14 },
    xAxis: { ...numberAxis(axis), nameLocation: "middle", nameGap: 28 },
    yAxis: {
      type: "category",
      inverse: true,
      data: bars.map(({ name }) => name),
      axisTick: { show: false },
      axisLabel: { color: INK },
    },
    series: [
      { type: "bar", silent: true, barWidth: 16, data: bars.map(({ value }) => value) },
      whiskers(bars.map((bar, at) => ({ ...bar, at })), true, () => 0),
    ],
  });
}
