/** What all charts share: their size, letters and colours, and how echarts makes SVG of an option. */

import { BarChart, CustomChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
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

export const WIDTH = 760;
export const FONT = "DejaVu Sans, Verdana, sans-serif";
export const INK = "#24292f";
const GRID = "#d8dee4";
/** Told apart by the colour-blind too: Okabe and Ito, 2008. */
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/** For a grid: its edges are those of the axes' labels and names too. */
export const AROUND_ALL = { outerBoundsMode: "same", outerBoundsContain: "all" };

/** Draws one chart, `height` pixels high. */
export function draw(title: string, height: number, option: EChartsCoreOption): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  try {
    chart.setOption({
      animation: false,
      color: COLOURS,
      textStyle: { fontFamily: FONT, color: INK },
      title: { text: title, left: 11, top: 10, textStyle: { fontSize: 15, color: INK } },
      ...option,
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose(); // else its timers keep the process alive
  }
}

/** A number in a label: three digits that count. */
export function label(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 10 });
}

/** An axis of numbers that has this name. */
export function numberAxis(name: string): Record<string, unknown> {
  return {
    type: "value",
    name,
    nameTextStyle: { color: INK },
    axisLabel: { color: INK, formatter: label },
    splitLine: { lineStyle: { color: GRID } },
  };
}
