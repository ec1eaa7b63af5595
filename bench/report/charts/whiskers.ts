/** Whiskers that show intervals, which echarts has no series for. */

import { FONT, INK, label } from "./canvas.ts";
import type { Mark } from "./chart.ts";

/** What echarts passes to a custom series: values of the data, and their pixels. */
interface Places {
  value(dimension: number): number;
  coord(point: readonly [number, number]): [number, number];
}

const HALF = 4;

/**
 * A series of whiskers. None goes below `least`, given the mark's value. `at` is the position of a
 * mark on the other axis. `lying` whiskers are horizontal, with the mark's value beside them.
 */
export function whiskers(
  marks: readonly (Mark & { readonly at: number })[],
  lying: boolean,
  least: (value: number) => number,
): Record<string, unknown> {
  return {
    type: "custom",
    silent: true,
    z: 10,
    data: marks.map(({ at, value, interval: [low, high] = [value, value] }) => [
      at,
      Math.max(low, least(value)),
      high,
      value,
    ]),
    encode: lying ? { x: [1, 2], y: 0 } : { x: 0, y: [1, 2] },
    renderItem: (_: unknown, places: Places) => {
      const at = places.value(0);
      const end = (i: number) =>
        places.coord(lying ? [places.value(i), at] : [at, places.value(i)]);
      const [from, to] = [end(1), end(2)];
      const children: unknown[] = [];
      // A whisker shorter than a pixel would only be a stroke through the mark.
      if (Math.abs(to[0] - from[0]) + Math.abs(to[1] - from[1]) > 1) {
        children.push(line(from, to), ...[from, to].map((point) => cap(point, lying)));
      }
      if (lying) {
        const text = label(places.value(3));
        const [x, y] = [to[0] + 7, to[1]];
        const style = { text, fill: INK, font: `12px ${FONT}`, verticalAlign: "middle" };
        children.push({ type: "text", x, y, style });
      }
      return { type: "group", children };
    },
  };
}

function cap([x, y]: [number, number], lying: boolean) {
  return lying ? line([x, y - HALF], [x, y + HALF]) : line([x - HALF, y], [x + HALF, y]);
}

function line([x1, y1]: [number, number], [x2, y2]: [number, number]) {
  return { type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: INK, lineWidth: 1 } };
}
