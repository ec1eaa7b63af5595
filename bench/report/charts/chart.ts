/** The data of charts, however they are drawn: the results of a report that its suite selects. */

import type { ChartSpec, Interval, Limits, Report, Result } from "../report.ts";

/** A number to draw, and its interval if it has one. */
export interface Mark {
  readonly value: number;
  readonly interval?: Interval | undefined;
}

/** A value for each name. */
export interface BarChart {
  readonly kind: "bars";
  readonly title: string;
  /** Unit of the values. */
  readonly axis: string;
  readonly bars: readonly (Mark & { readonly name: string })[];
}

/** Values as functions of a number. */
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

/** The rates of kernels by their arithmetic intensity, below the limits from the probe. */
export interface RooflineChart {
  readonly kind: "roofline";
  readonly title: string;
  /** The limits in GB/s and GFLOPS. */
  readonly bandwidth: number;
  readonly flops: number;
  readonly points: readonly {
    readonly name: string;
    /** Points with the same number are of the same kind. */
    readonly group: number;
    /** FLOP per byte, and GFLOPS. */
    readonly intensity: number;
    readonly rate: number;
  }[];
}

/** Ratios of one side to the other. */
export interface RatioChart {
  readonly kind: "ratios";
  readonly title: string;
  readonly ratios:
    readonly (Required<Mark> & { readonly name: string; readonly interval: Interval })[];
}

export type Chart = BarChart | LineChart | RooflineChart | RatioChart;

/** The report's charts, without those that have no results because the run was cut off. */
export function chartsOf({ charts, results, limits, environment }: Report): Chart[] {
  return charts.flatMap((spec): Chart[] => {
    const own = results.filter(({ metric, settings }) =>
      metric === spec.metric && spec.by in settings &&
      Object.entries(spec.where ?? {}).every(([name, value]) => settings[name] === value)
    );
    const drawn = alike(spec, own);
    if (drawn.length === 0) return [];
    // Results without the setting `series` were measured on the device of the report.
    const main = environment.device.kind;
    switch (spec.kind) {
      case "bars":
        return [bars(spec, drawn)];
      case "lines":
        return [lines(spec, drawn, main)];
      case "roofline":
        return limits === null ? [] : roofline(spec, drawn, { results, limits });
    }
  });
}

/**
 * The results whose settings are all named by the chart or common to all results. Others are of
 * another kind, such as kernels of prompts beside those of decode steps.
 */
function alike({ by, series, where = {} }: ChartSpec, results: readonly Result[]): Result[] {
  const named = new Set([by, ...(series === undefined ? [] : [series]), ...Object.keys(where)]);
  return results.filter(({ settings }) =>
    Object.keys(settings).every((name) =>
      named.has(name) || results.every((other) => name in other.settings)
    )
  );
}

function roofline(
  { title, by, series }: ChartSpec,
  drawn: readonly Result[],
  { results, limits }: { readonly results: readonly Result[]; readonly limits: Limits },
): RooflineChart[] {
  const bandwidths = new Map(
    results.flatMap((result) =>
      result.metric === "kernel_bandwidth" ? [[JSON.stringify(result.settings), result.value]] : []
    ),
  );
  const groups: unknown[] = [];
  const points = drawn.flatMap(({ settings, value: rate }) => {
    const bandwidth = bandwidths.get(JSON.stringify(settings)) ?? 0;
    // A logarithmic axis cannot show 0.
    if (!(rate > 0 && bandwidth > 0)) return [];
    const second = series === undefined ? undefined : settings[series];
    if (!groups.includes(second)) groups.push(second);
    const name = [settings[by], second ?? []].flat().join(", ");
    return [{ name, group: groups.indexOf(second), intensity: rate / bandwidth, rate }];
  });
  const { bandwidth, flops } = limits;
  return points.length === 0 ? [] : [{ kind: "roofline", title, bandwidth, flops, points }];
}

function bars({ title, by, series }: ChartSpec, drawn: readonly Result[]): BarChart {
  const { unit, scale } = scaleOf(drawn);
  const nameOf = ({ settings }: Result) => {
    const second = settings[series ?? ""] ?? [];
    const { promptTokens, maxTokens } = settings;
    // A name such as S1 means nothing to readers who do not know the scenarios.
    const lengths = promptTokens === undefined || maxTokens === undefined
      ? []
      : `${promptTokens} + ${maxTokens} tokens`;
    return [
      settings[by],
      lengths,
      typeof second === "number" ? `${series} ${second}` : second,
    ].flat().join(", ");
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
      .sort((a, b) => a.x - b.x), // results may be in another order, such as scenarios
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
  return { name: "if N requests were N times as fast as one (computed)", computed: true, points };
}

function mark({ value, interval }: Result, scale: number): Mark {
  return {
    value: value / scale,
    ...(interval && { interval: [interval[0] / scale, interval[1] / scale] }),
  };
}

/** The unit to draw these results in, and how many of their own units it is. */
function scaleOf(results: readonly Result[]): { unit: string; scale: number } {
  const { unit } = results[0]!;
  if (unit !== "bytes") return { unit: unit === "us" ? "µs" : unit, scale: 1 };
  const largest = Math.max(...results.map(({ value }) => value));
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(largest) / 10)));
  return { unit: ["bytes", "KiB", "MiB", "GiB", "TiB"][power]!, scale: 1024 ** power };
}
