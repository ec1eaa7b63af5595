/** A bar chart as SVG text. */

import {
  AROUND_ALL,
  draw,
  type Drawing,
  INK,
  numberAxis,
  type Size,
  titleRoom,
  told,
} from "./canvas.ts";
import type { BarChart } from "./chart.ts";
import { whiskers } from "./whiskers.ts";

const BAR = 30;
const AXIS_ROOM = 56;
/** A chart is narrow below this width; its names then have NAME_WIDTH. Both in pixels. */
const NARROW = 500;
const NAME_WIDTH = 130;

/** Draws the bars under each other, each with its name and value. */
export function drawBars({ title, axis, bars }: BarChart, size: Size = {}): Drawing {
  const top = titleRoom(size);
  const narrow = (size.width ?? Infinity) < NARROW;
  const height = top + AXIS_ROOM + (narrow ? 36 : BAR) * bars.length;
  return draw({
    ...{ title, height, ...size },
    option: {
      grid: { ...AROUND_ALL, left: narrow ? 8 : 40, right: 90, top, bottom: 14 },
      xAxis: {
        ...numberAxis(axis),
        nameLocation: "middle",
        nameGap: 28,
        ...narrow && { splitNumber: 3 },
      },
      yAxis: {
        type: "category",
        inverse: true,
        data: bars.map(({ name }) => name),
        axisTick: { show: false },
        axisLabel: { color: INK, ...(narrow && { width: NAME_WIDTH, overflow: "break" }) },
      },
      series: [
        { type: "bar", silent: true, barWidth: 16, data: bars.map(({ value }) => value) },
        whiskers(bars.map((bar, at) => ({ ...bar, at })), true, () => 0),
      ],
    },
    spots: (at) =>
      bars.map((bar, i) => {
        const [x, y] = at([bar.value, i]);
        return { x, y, text: told(bar.name, bar, axis) };
      }),
  });
}
