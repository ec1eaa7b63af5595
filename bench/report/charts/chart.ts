/** What a chart shows, whatever draws it; and which charts each suite has, by its tables. */

import type { Cell, Quantity, Report, Table, Unit } from "../report.ts";

/** A number to draw, and its standard deviation where it was measured more than once. */
export interface Mark {
  readonly value: number;
  readonly stddev?: number | undefined;
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

/** A chart of one table: the titles of its columns, and of the rows where not all are drawn. */
interface ChartSpec {
  readonly kind: Chart["kind"];
  readonly title: string;
  readonly table: string;
  readonly x: string;
  readonly y: readonly string[];
  readonly rows?: readonly string[];
  /** What x is, where the column's title does not say it. */
  readonly xAxis?: string;
  readonly logarithmic?: true;
  /** Adds the line that the first point gives if twice as many are twice as fast. */
  readonly ideal?: true;
}

const CHARTS: Readonly<Record<string, readonly ChartSpec[]>> = {
  throughput: [
    {
      kind: "bars",
      title: "One request, and several",
      table: "Throughput",
      x: "Benchmark",
      y: ["Tokens/sec"],
    },
    {
      kind: "lines",
      title: "Throughput by length of the prompt",
      table: "Context Length Scaling",
      x: "Context Length",
      xAxis: "tokens of the prompt",
      y: ["Tok/sec"],
    },
    {
      kind: "bars",
      title: "Continuous batching",
      table: "Continuous batching",
      x: "Requests",
      y: ["Throughput (tok/s)"],
    },
  ],
  latency: [
    {
      kind: "lines",
      title: "Time to the first token by length of the prompt",
      table: "Context Length Scaling",
      x: "Context",
      xAxis: "tokens of the prompt",
      y: ["TTFT (ms)"],
    },
    {
      kind: "lines",
      title: "Decoding by length of the prompt",
      table: "Context Length Scaling",
      x: "Context",
      xAxis: "tokens of the prompt",
      y: ["Decode tok/s"],
    },
  ],
  memory: [
    {
      kind: "bars",
      title: "Memory of the device, one request",
      table: "Memory",
      x: "Metric",
      y: ["Value"],
      rows: ["Model weights", "KV cache buffers", "Scratch buffers", "Total device memory"],
    },
    {
      kind: "lines",
      title: "KV cache by tokens held",
      table: "KV Cache Scaling",
      x: "Tokens",
      y: ["KV Cache"],
    },
  ],
  scalability: [
    {
      kind: "lines",
      title: "Throughput by requests at once",
      table: "Scalability",
      x: "Requests",
      y: ["Tok/sec"],
      ideal: true,
    },
  ],
  breakdown: [
    {
      kind: "bars",
      title: "Operations of one request",
      table: "Operations of one request",
      x: "Operation",
      y: ["Median (ms)"],
    },
    {
      kind: "bars",
      title: "Kernels of the decode steps, all calls",
      table: "Kernels of the decode steps",
      x: "Kernel",
      y: ["Total (ms)"],
    },
  ],
  detokenizer: [
    {
      kind: "lines",
      title: "Time by length of the text",
      table: "Detokenizer",
      x: "Tokens",
      y: ["decode()", "Streaming"],
      logarithmic: true,
    },
  ],
  "prefix-cache": [
    {
      kind: "bars",
      title: "Time to the first token",
      table: "Prefix cache",
      x: "Test",
      y: ["Time"],
    },
  ],
  "paged-cache": [
    {
      kind: "bars",
      title: "Throughput without and with the cache",
      table: "Modes",
      x: "Mode",
      y: ["Throughput (tok/s)"],
    },
  ],
  scenarios: [
    {
      kind: "lines",
      title: "Time to the first token by length of the prompt",
      table: "Scenarios",
      x: "Prompt",
      xAxis: "tokens of the prompt",
      y: ["TTFT (ms)"],
    },
    {
      kind: "lines",
      title: "Decoding of S6 by step",
      table: "Decoding of S6",
      x: "Tokens",
      xAxis: "tokens decoded",
      y: ["Decode TPS"],
    },
    {
      kind: "bars",
      title: "Prefill by scenario",
      table: "Scenarios",
      x: "ID",
      y: ["Prefill TPS"],
    },
    {
      kind: "bars",
      title: "Decoding by scenario",
      table: "Scenarios",
      x: "ID",
      y: ["Decode TPS"],
    },
  ],
  kernels: [
    {
      kind: "lines",
      title: "Decoding by requests at once",
      table: "Decode steps of several requests",
      x: "Requests",
      y: ["Decode tok/s"],
      ideal: true,
    },
  ],
};

/** The report's charts; of tables that a cut-off run lacks there are none. */
export function chartsOf(report: Report): Chart[] {
  return (CHARTS[report.suite] ?? []).flatMap((spec) => {
    const table = report.tables.find(({ title }) => title === spec.table);
    if (table === undefined) return [];
    const chart = spec.kind === "bars" ? bars(spec, table) : lines(spec, table);
    return isEmpty(chart) ? [] : [chart];
  });
}

function bars(spec: ChartSpec, table: Table): BarChart {
  const rows = table.rows.filter(([name]) => spec.rows?.includes(String(name)) ?? true);
  const x = columnIndex(table, spec.x);
  const y = columnIndex(table, spec.y[0]!);
  const drawn = rows.flatMap((row) => {
    const cell = row[y]!;
    return typeof cell === "string" ? [] : [{ name: nameOf(row[x]!), cell }];
  });
  const { unit, scale } = scaleOf(drawn.map(({ cell }) => cell));
  return {
    kind: "bars",
    title: spec.title,
    axis: unit,
    bars: drawn.map(({ name, cell }) => ({ name, ...mark(cell, scale) })),
  };
}

function lines(spec: ChartSpec, table: Table): LineChart {
  const x = columnIndex(table, spec.x);
  const cells = spec.y.map((title) => {
    const y = columnIndex(table, title);
    return table.rows.flatMap((row) => {
      const [at, cell] = [row[x]!, row[y]!];
      return typeof at === "string" || typeof cell === "string" ? [] : [{ x: at.value, cell }];
    }).sort((a, b) => a.x - b.x); // rows may be in another order, as scenarios are
  });
  const { unit, scale } = scaleOf(cells.flat().map(({ cell }) => cell));
  const drawn = cells.map((points, i) => ({
    name: spec.y[i]!,
    computed: false,
    points: points.map(({ x, cell }) => ({ x, ...mark(cell, scale) })),
  }));
  return {
    kind: "lines",
    title: spec.title,
    xAxis: spec.xAxis ?? spec.x,
    yAxis: unit,
    logarithmic: spec.logarithmic === true,
    lines: spec.ideal ? [...drawn, idealOf(drawn[0]!)] : drawn,
  };
}

function idealOf(line: LineChart["lines"][number]): LineChart["lines"][number] {
  const [first] = line.points;
  const points = line.points.map(({ x }) => ({ x, value: first!.value * x / first!.x }));
  return { name: "if each request were as fast as one (computed)", computed: true, points };
}

function columnIndex(table: Table, title: string): number {
  const index = table.columns.findIndex((column) => column.title === title);
  if (index < 0) throw new TypeError(`Cannot draw '${table.title}': it has no column '${title}'`);
  return index;
}

function nameOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.value.toLocaleString("en-US");
}

function mark({ value, stddev }: Quantity, scale: number): Mark {
  return { value: value / scale, ...(stddev !== undefined && { stddev: stddev / scale }) };
}

/** The unit to draw these in, and how many of theirs it is. */
function scaleOf(cells: readonly Quantity[]): { unit: string; scale: number } {
  const unit: Unit = cells[0]?.unit ?? "";
  if (unit !== "bytes") return { unit: unit === "us" ? "µs" : unit, scale: 1 };
  const largest = Math.max(...cells.map(({ value }) => value));
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(largest) / 10)));
  return { unit: ["bytes", "KiB", "MiB", "GiB", "TiB"][power]!, scale: 1024 ** power };
}

function isEmpty(chart: Chart): boolean {
  return chart.kind === "bars"
    ? chart.bars.length === 0
    : chart.lines.every(({ points }) => points.length === 0);
}
