/** A report as markdown. */

import { markdownTable } from "markdown-table";
import {
  type Cell,
  isAboveLimit,
  type Limits,
  type Quantity,
  type Report,
  type Table,
  type Unit,
} from "./report.ts";

/** The report, from its title to its output check. */
export function toMarkdown(report: Report): string {
  const parts = [
    `# tvllm bench ${report.suite}`,
    ...(report.complete ? [] : ["**Cut off: the tables hold what was measured before.**"]),
    grid(["Parameter", "Value"], parameters(report)),
    "## Theoretical limits",
    report.limits === null
      ? "Not measured: the CPU backend has no device to probe."
      : grid(["Limit", "Value"], limitRows(report.limits)),
    ...report.tables.flatMap(tableParts),
    ...notes(report),
  ];
  return `${parts.join("\n\n")}\n`;
}

function parameters({ environment: { device, model, engine }, run }: Report): string[][] {
  // Drivers that have no name for their vendor give its number.
  const names = [device.description, device.vendor, device.architecture]
    .filter((name) => name !== "" && !/^\d+$/.test(name));
  return [
    ["Device", `${names.join(", ")}, ${device.driver}${device.kind === "cpu" ? ", CPU" : ""}`],
    [
      "Model",
      `${model.name}, ${model.architecture}, ${count(model.parameters)} parameters, ` +
      `${model.formats.join(" + ")}, ${model.bitsPerWeight.toFixed(2)} bits per weight`,
    ],
    ["Model Size", `${bytes(model.fileBytes)} on disk, ${bytes(model.deviceBytes)} on the device`],
    [
      "Dimensions",
      `dim ${model.dim}, layers ${model.layers}, heads ${model.heads}, KV heads ${model.kvHeads}, ` +
      `head size ${model.headDim}, vocabulary ${model.vocabSize}`,
    ],
    [
      "Engine",
      `tvllm ${engine.tvllm}, Deno ${engine.deno}, ${engine.kernels} kernels, ${engine.kvType} KV cache`,
    ],
    [
      "Run",
      // Some suites have requests of their own.
      `options: prompts ${run.prompts}, prompt tokens ${run.promptTokens}, max tokens ${run.maxTokens}, ` +
      `warm-ups ${run.warmup}, repetitions ${run.repetitions}, seed ${run.seed}, ${run.date}`,
    ],
  ];
}

function limitRows(limits: Limits): string[][] {
  const rate = (x: number, unit: Unit) => text({ value: x, unit });
  return [
    [`GPU memory bandwidth (${limits.source})`, rate(limits.bandwidth, "GB/s")],
    ["float32 rate (measured)", rate(limits.flops, "GFLOPS")],
    ["int8 dot rate (measured)", rate(limits.int8, "GOPS")],
    ["Dispatch overhead (measured)", rate(limits.dispatch, "us")],
    ["Readback latency (measured)", rate(limits.readback, "ms")],
    ["Upload rate (measured)", rate(limits.upload, "GB/s")],
    ["Bytes read per decoded token (computed)", bytes(limits.bytesPerToken)],
    ["Max tok/s, memory-bound (computed)", rate(limits.memoryBound, "tok/s")],
    ["Max tok/s, arithmetic-bound (computed)", rate(limits.arithmeticBound, "tok/s")],
    [
      "Min TPOT (computed)",
      rate(1000 / Math.min(limits.memoryBound, limits.arithmeticBound), "ms"),
    ],
  ];
}

function tableParts({ title, columns, rows, summary }: Table): string[] {
  const cells = rows.map((row) => row.map((cell, i) => text(cell, columns[i]?.unit)));
  return [`## ${title}`, grid(columns.map((c) => c.title), cells), ...summary];
}

function notes({ checks, warnings, outputHash }: Report): string[] {
  const parts: string[] = [];
  if (warnings.length > 0) {
    parts.push("## Warnings", warnings.map((warning) => `- ${warning}`).join("\n"));
  }
  if (checks.length > 0) {
    const rows = checks.map(({ name, ok, detail }) => [name, ok ? "ok" : "**FAILED**", detail]);
    parts.push("## Checks", grid(["Check", "Status", "Detail"], rows));
  }
  if (outputHash !== "") parts.push(`Output check: ${outputHash}`);
  return parts;
}

function grid(head: string[], rows: readonly string[][]): string {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  return markdownTable([head, ...cells]);
}

/** A cell's text; the unit is left out where the column's title says it. */
export function text(cell: Cell, columnUnit?: Unit): string {
  if (typeof cell === "string") return cell;
  const { value, unit, stddev } = cell;
  const flag = isAboveLimit(cell) ? " (above its limit: wrong)" : "";
  if (unit === "bytes") return bytes(value) + flag;
  const digits = decimals(cell);
  const fixed = (x: number) => digits === 0 ? count(Math.round(x)) : x.toFixed(digits);
  const number = fixed(value);
  const spread = stddev === undefined ? "" : ` ± ${fixed(stddev)}`;
  return number + spread + suffix(unit, columnUnit) + flag;
}

function suffix(unit: Unit, columnUnit: Unit | undefined): string {
  if (unit === "%" || unit === "x") return unit;
  if (unit === "" || unit === columnUnit) return "";
  return ` ${unit === "us" ? "µs" : unit}`;
}

function decimals({ value, unit }: Quantity): number {
  if (unit === "") return Number.isInteger(value) ? 0 : 1;
  if (unit === "x") return 2;
  const size = Math.abs(value);
  // What was measured is never shown as zero.
  if (unit === "%") return size >= 0.1 || size === 0 ? 1 : -Math.floor(Math.log10(size));
  if (size >= 1000) return 0;
  if (size >= 100) return 1;
  if (size >= 1 || size === 0) return 2;
  return Math.min(8, 2 - Math.floor(Math.log10(size)));
}

/** 3701760 as `3.53 MiB (3,701,760 bytes)`. */
function bytes(n: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = n / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  const exact = `${count(Math.round(n))} bytes`;
  return n < 1024 ? exact : `${size.toFixed(2)} ${units[unit]} (${exact})`;
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
