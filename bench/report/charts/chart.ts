/** What a chart shows, whatever draws it: the results of a report that its suite names. */

import type { ChartSpec, Interval, Report, Result } from "../report.ts";

/** A number to draw, and its interval where it has one. */
export interface Mark {
  readonly value: number;
  readonly interval?: Interval | undefined;
}

/** Values for each of some names. */
export interface BarChart {
  readonly kind: "bars";
  readonly title: string;
  /** What the values are, with their unit. */
  readonly axis: string;
  readonly bars: readonly (Mark & { readonly name: string })[];
}

/** Values over a number. */
export interface LineChart {
  readonly kind: "lines";
  readonly title: string;
  readonly xAxis: string;
  readonly yAxis: string;
  readonly logarithmic: boolean;
  readonly lines: readonly {
    readonly name: string;
    /** Computed rather than measured. */
    readonly computed: boolean;
    readonly points: readonly (Mark & { readonly x: number })[];
  }[];
}

export type Chart = BarChart | LineChart;

/** The report's charts, without those that a cut-off run has no results for. */
export function chartsOf({ charts, results, environment }: Report): Chart[] {
  return charts.flatMap((spec) => {
    const drawn = results.filter(({ metric, settings }) =>
      metric === spec.metric && spec.by in settings
    );
    if (drawn.length === 0) return [];
    // What has no such setting was measured on the device of the report.
    const main = environment.device.kind;
    return [spec.kind === "bars" ? bars(spec, drawn) : lines(spec, drawn, main)];
  });
}

function bars({ title, by, series }: ChartSpec, drawn: readonly Result[]): BarChart {
  const { unit, scale } = scaleOf(drawn);
  const nameOf = ({ settings }: Result) => {
    const second = settings[series ?? ""] ?? [];
    return [settings[by], typeof second === "number" ? `${series} ${second}` : second].flat()
      .join(", ");
  };
  return {
    kind: "bars",
    title,
    axis: unit,
    bars: drawn.map((result) => ({ name: nameOf(result), ...mark(result, scale) })),
  };
}

function lines(spec: ChartSpec, drawn: readonly Result[], main: string): LineChart {
  const { unit, scale } = scaleOf(drawn);
  const nameOf = ({ settings }: Result) =>
    spec.series === undefined ? "measured" : String(settings[spec.series] ?? main);
  const measured = [...Map.groupBy(drawn, nameOf)].map(([name, results]) => ({
    name,
    computed: false,
    points: results.map((result) => ({
      x: Number(result.settings[spec.by]),
      ...mark(result, scale),
    }))
      .sort((a, b) => a.x - b.x), // results may be in another order, as scenarios are
  }));
  return {
    kind: "lines",
    title: spec.title,
    xAxis: spec.xAxis ?? spec.by,
    yAxis: unit,
    logarithmic: spec.logarithmic === true,
    lines: spec.ideal ? [...measured, idealOf(measured[0]!)] : measured,
  };
}

function idealOf(line: LineChart["lines"][number]): LineChart["lines"][number] {
  const [first] = line.points;
  const points = line.points.map(({ x }) => ({ x, value: first!.value * x / first!.x }));
  return { name: "if each request were as fast as one (computed)", computed: true, points };
}

function mark({ value, interval }: Result, scale: number): Mark {
  return {
    value: value / scale,
    ...(interval && { interval: [interval[0] / scale, interval[1] / scale] }),
  };
}

/** The unit to draw these in, and how many of theirs it is. */
function scaleOf(results: readonly Result[]): { unit: string; scale: number } {
  const { unit } = results[0]!;
  if (unit !== "bytes") return { unit: unit === "us" ? "µs" : unit, scale: 1 };
  const largest = Math.max(...results.map(({ value }) => value));
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(largest) / 10)));
  return { unit: ["bytes", "KiB", "MiB", "GiB", "TiB"][power]!, scale: 1024 ** power };
}
