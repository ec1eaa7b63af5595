/** A line chart as SVG text. */

import {
  AROUND_ALL,
  COLOURS,
  draw,
  type Drawing,
  INK,
  label,
  numberAxis,
  type Size,
  titleRoom,
  told,
  WIDTH,
} from "./canvas.ts";
import type { LineChart } from "./chart.ts";
import { whiskers } from "./whiskers.ts";

const PLOT = 276;
const LEGEND = 36;
const LEGEND_ROW = 24;
/** Pixels of a legend entry without its name, and of a letter of the name. */
const LEGEND_SIGN = 62;
const LETTER = 7.2;
const DASHES = "path://M0 0h8v2h-8zM12 0h8v2h-8z";

/** Draws each line with its points and their whiskers; several lines have a legend. */
export function drawLines(
  { title, xAxis, yAxis, logarithmic, lines }: LineChart,
  size: Size = {},
): Drawing {
  const scale = logarithmic ? { type: "log" } : {};
  const several = lines.length > 1;
  const measured = lines.filter(({ computed }) => !computed).flatMap(({ points }) => points);
  const top = titleRoom(size);
  const room = several ? LEGEND + LEGEND_ROW * (legendRows(lines, size) - 1) : 10;
  return draw({
    ...{ title, height: top + PLOT + room - LEGEND, ...size },
    option: {
      grid: { ...AROUND_ALL, left: 30, right: 40, top: top + room, bottom: 14 },
      legend: {
        show: several,
        type: "plain",
        left: 11,
        top: top - 6,
        itemGap: 30, // names are wider than echarts assumes
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
    },
    spots: (at) =>
      lines.flatMap(({ name, computed, points }) =>
        computed ? [] : points.map((point) => {
          const [x, y] = at([point.x, point.value]);
          const where = `${xAxis} ${label(point.x)}`;
          return { x, y, text: told(several ? `${name}, ${where}` : where, point, yAxis) };
        })
      ),
  });
}

/** Number of rows that the legend needs for the names of the lines. */
function legendRows(
  lines: LineChart["lines"],
  { width: whole = WIDTH }: Size,
): number {
  let [rows, left] = [1, whole - 22];
  for (const { name } of lines) {
    const width = LEGEND_SIGN + LETTER * name.length;
    if (width > left && left < whole - 22) [rows, left] = [rows + 1, whole - 22];
    left -= width;
  }
  return rows;
}
