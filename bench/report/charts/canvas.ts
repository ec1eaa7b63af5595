/** What all charts share: size, font and colours, and the rendering of an echarts option as SVG. */

import { BarChart, CustomChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { type EChartsCoreOption, init, setPlatformAPI, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([
  BarChart,
  CustomChart,
  LineChart,
  GridComponent,
  LegendComponent,
  TitleComponent,
  SVGRenderer,
]);

/**
 * Widths of letters in DejaVu Sans, as shares of the font size, rounded up. All other letters have
 * width 1.
 */
const LETTERS: readonly (readonly [RegExp, number])[] = [
  [/[ijl.,:;|!'() ]/, 0.38],
  [/[ft[\]r/-]/, 0.42],
  [/[mwMW@%+×]/, 0.98],
  [/[A-Z]/, 0.72],
  [/[!-\u024f]/, 0.64],
];

// Without a canvas, echarts assumes narrower letters, and texts overlap.
setPlatformAPI({
  measureText: (text, font = "") => {
    const size = Number(/([\d.]+)px/.exec(font)?.[1] ?? 12) * (/bold|[67]00/.test(font) ? 1.12 : 1);
    let width = 0;
    for (const letter of text) {
      width += LETTERS.find(([letters]) => letters.test(letter))?.[1] ?? 1;
    }
    return { width: size * width };
  },
});

export const WIDTH = 760;
export const FONT = "DejaVu Sans, Verdana, sans-serif";
export const INK = "#24292f";
export const PAPER = "#ffffff";
const GRID = "#d8dee4";
const AXIS = "#54555a"; // echarts' default
/** Colours that colour-blind readers can tell apart: Okabe and Ito, 2008. */
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/** The colour that replaces each of these on a dark background. */
export const DARK: ReadonlyMap<string, string> = new Map([
  [PAPER, "#0d1117"],
  [INK, "#e6edf3"],
  [GRID, "#30363d"],
  [AXIS, "#8b949e"],
  ["#0072b2", "#56b4e9"],
  ["#d55e00", "#ff8c42"],
  ["#009e73", "#2fc79a"],
  ["#cc79a7", "#e5a9cb"],
]);

/** For a grid: its margins also contain the labels and names of the axes. */
export const AROUND_ALL = { outerBoundsMode: "same", outerBoundsContain: "all" };

/** How a chart is drawn. */
export interface Size {
  /** Pixels; default WIDTH. */
  readonly width?: number;
  /** Whether the picture contains the title; default true. */
  readonly titled?: boolean;
}

/** A place in the drawing that shows a number, and its text. */
export interface Spot {
  readonly x: number;
  readonly y: number;
  readonly text: string;
}

/** A chart as SVG text. */
export interface Drawing {
  readonly svg: string;
  readonly width: number;
  readonly height: number;
  readonly spots: readonly Spot[];
}

/** What `draw` draws. */
export interface Canvas extends Size {
  readonly title: string;
  readonly height: number;
  readonly option: EChartsCoreOption;
  /** The places of the numbers; `at` converts a data point to pixels. */
  readonly spots: (at: (point: readonly [number, number]) => readonly [number, number]) => Spot[];
  /** More SVG, drawn over the chart. */
  readonly over?: (at: (point: readonly [number, number]) => readonly [number, number]) => string;
}

/** Draws one chart. */
export function draw(
  { title, width = WIDTH, titled = true, height, option, spots, over = () => "" }: Canvas,
): Drawing {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      color: COLOURS,
      textStyle: { fontFamily: FONT, color: INK },
      title: {
        show: titled,
        text: title,
        left: 11,
        top: 10,
        textStyle: { fontSize: 15, color: INK },
      },
      ...option,
    });
    const svg = chart.renderToSVGString();
    const at = (point: readonly [number, number]) =>
      chart.convertToPixel({ gridIndex: 0 }, [...point]) as [number, number];
    return {
      svg: svg.replace(/<\/svg>\s*$/, `${over(at)}</svg>`),
      width,
      height,
      spots: spots(at),
    };
  } finally {
    chart.dispose(); // else its timers keep the process alive
  }
}

/** Pixels above a chart that its title needs. */
export function titleRoom({ titled = true }: Size): number {
  return titled ? 44 : 12;
}

/** A number in a label, with three significant digits. */
export function label(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 10 });
}

/** A number with its unit and interval, for readers who point at it. */
export function told(
  name: string,
  { value, interval }: {
    readonly value: number;
    readonly interval?: readonly [number, number] | undefined;
  },
  unit: string,
): string {
  const spread = interval === undefined ? "" : ` [${interval.map(label).join(", ")}]`;
  return `${name}: ${label(value)}${spread} ${unit}`.trimEnd();
}

/** An axis of numbers with this name. */
export function numberAxis(name: string): Record<string, unknown> {
  return {
    type: "value",
    name,
    nameTextStyle: { color: INK },
    axisLabel: { color: INK, formatter: label, hideOverlap: true },
    splitLine: { lineStyle: { color: GRID } },
  };
}

/** Escapes text for SVG or HTML. */
export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
