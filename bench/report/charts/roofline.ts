/** A roofline as SVG text: the limits of the device, and how close each kernel came to them. */

import {
  AROUND_ALL,
  COLOURS,
  draw,
  type Drawing,
  escape,
  INK,
  label,
  numberAxis,
  PAPER,
  type Size,
  titleRoom,
} from "./canvas.ts";
import type { RooflineChart } from "./chart.ts";

const PLOT = 290;
const LINE = 18;
const RADIUS = 8;
const LETTER = 6.8;

/**
 * Draws the roof, from the device's limits, and each kernel as a numbered dot, with a key below.
 * Dots that would overlap are moved aside, with lines to their places.
 */
export function drawRoofline(chart: RooflineChart, size: Size = {}): Drawing {
  const { title, bandwidth, flops, points } = chart;
  const top = titleRoom(size);
  const width = size.width ?? 760;
  const names = points.map(({ name }, i) => `${i + 1} ${name}`);
  const column = Math.max(...names.map((name) => name.length)) * LETTER + 24;
  const columns = Math.max(1, Math.min(3, Math.floor((width - 22) / column)));
  const key = LINE * Math.ceil(points.length / columns) + 14;
  const xs = points.map(({ intensity }) => intensity);
  const ridge = flops / bandwidth;
  const least = decade(Math.min(ridge / 10, ...xs), Math.floor);
  const most = decade(Math.max(ridge * 10, ...xs), Math.ceil);
  const roof = [least, ridge, most].map((x) => [x, Math.min(bandwidth * x, flops)]);
  const bottom = decade(Math.min(bandwidth * least, ...points.map(({ rate }) => rate)), Math.floor);
  return draw({
    ...{ title, height: top + PLOT + key, ...size },
    option: {
      grid: { ...AROUND_ALL, left: 30, right: 40, top: top + 26, bottom: 14 + key },
      xAxis: {
        ...numberAxis("FLOP per byte"),
        type: "log",
        min: least,
        max: most,
        nameLocation: "middle",
        nameGap: 28,
      },
      yAxis: {
        ...numberAxis(`GFLOPS; roof: ${label(bandwidth)} GB/s, ${label(flops)} GFLOPS`),
        type: "log",
        min: bottom,
        max: decade(flops * 1.2, Math.ceil),
        nameTextStyle: { color: INK, align: "left" },
      },
      series: [{
        type: "line",
        silent: true,
        symbol: "none",
        data: roof,
        lineStyle: { width: 2 },
        color: COLOURS[1],
      }],
    },
    spots: (at) =>
      points.map(({ name, intensity, rate }) => {
        const [x, y] = at([intensity, rate]);
        const share = 100 * rate / Math.min(bandwidth * intensity, flops);
        return {
          x,
          y,
          text: `${name}: ${label(rate)} GFLOPS at ${label(intensity)} FLOP per byte, ${
            label(share)
          } % of the roof`,
        };
      }),
    over: (at) => {
      const placed: [number, number][] = [];
      const leaders: string[] = [];
      const dots = points.map(({ intensity, rate, group }, i) => {
        const [x, y] = at([intensity, rate]);
        const own: [number, number] = [x, y];
        while (placed.some(([a, b]) => Math.hypot(a - own[0], b - own[1]) < 2 * RADIUS + 1)) {
          own[0] += 2 * RADIUS + 1;
        }
        placed.push(own);
        const colour = COLOURS[2 * group % COLOURS.length];
        leaders.push(`<path d="M${x} ${y}L${own[0]} ${own[1]}" stroke="${INK}"/>`);
        return `<circle cx="${own[0]}" cy="${own[1]}" r="${RADIUS}" fill="${colour}"/>` +
          `<text x="${own[0]}" y="${
            own[1] + 3.5
          }" text-anchor="middle" font-size="10" fill="${PAPER}">${i + 1}</text>`;
      });
      const rows = Math.ceil(points.length / columns);
      const keys = names.map((name, i) =>
        `<text x="${22 + column * Math.floor(i / rows)}" y="${
          top + PLOT + 8 + LINE * (i % rows)
        }" font-size="12" fill="${INK}">${escape(name)}</text>`
      );
      return [...leaders, ...dots, ...keys].join("");
    },
  });
}

/** The power of ten next to a number. */
function decade(value: number, round: (power: number) => number): number {
  return 10 ** round(Math.log10(value));
}
