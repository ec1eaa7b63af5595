/** Ratios with their intervals as SVG text, against the line on which both sides are equal. */

import {
  AROUND_ALL,
  COLOURS,
  draw,
  type Drawing,
  escape,
  INK,
  label,
  numberAxis,
  type Size,
  titleRoom,
  told,
} from "./canvas.ts";
import type { RatioChart } from "./chart.ts";
import { whiskers } from "./whiskers.ts";

const LEAST_ROW = 30;
const LINE = 14;
const AXIS_ROOM = 56;
/** Width of the names beside the chart, and of one of their letters. */
const NAMES = 170;
const LETTER = 6.2;
const MARGIN = 0.02;

/** Draws the ratios under each other. */
export function drawRatios({ title, ratios }: RatioChart, size: Size = {}): Drawing {
  const top = titleRoom(size);
  // Names are broken between words, so that a line may be half empty.
  const lines = Math.max(
    ...ratios.map(({ name }) => Math.ceil(1.2 * name.length * LETTER / NAMES)),
  );
  const row = Math.max(LEAST_ROW, LINE * lines);
  const ends = ratios.flatMap(({ interval }) => [...interval]);
  const least = Math.min(1, ...ends) * (1 - MARGIN);
  const most = Math.max(1, ...ends) * (1 + MARGIN);
  return draw({
    ...{ title, height: top + AXIS_ROOM + row * ratios.length, ...size },
    option: {
      grid: { ...AROUND_ALL, left: 8, right: 60, top, bottom: 14 },
      xAxis: {
        ...numberAxis("B / A, with its 95 % interval"),
        nameLocation: "middle",
        nameGap: 28,
        min: Number(least.toPrecision(2)),
        max: Number(most.toPrecision(3)),
        splitNumber: 4,
      },
      yAxis: {
        type: "category",
        inverse: true,
        data: ratios.map(({ name }) => name),
        axisTick: { show: false },
        axisLine: { show: false },
        axisLabel: {
          color: INK,
          width: NAMES,
          overflow: "break",
          fontSize: 11,
          lineHeight: LINE - 1,
          interval: 0,
        },
      },
      series: [whiskers(ratios.map((ratio, at) => ({ ...ratio, at })), true, () => 0)],
    },
    spots: (at) =>
      ratios.map((ratio, i) => {
        const [x, y] = at([ratio.value, i]);
        return { x, y, text: told(ratio.name, ratio, "times A") };
      }),
    over: (at) => {
      const [x, first] = at([1, 0]);
      const [, last] = at([1, ratios.length - 1]);
      const equal = `<path d="M${x} ${first - row / 2}L${x} ${last + row / 2}" stroke="${
        COLOURS[1]
      }" stroke-width="1.5" stroke-dasharray="5 4"/>`;
      const dots = ratios.map(({ name, value }, i) => {
        const [cx, cy] = at([value, i]);
        return `<circle cx="${cx}" cy="${cy}" r="4.5" fill="${COLOURS[0]}"><title>${
          escape(`${name}: ${label(value)}`)
        }</title></circle>`;
      });
      return [equal, ...dots].join("");
    },
  });
}
