/** A report as markdown. */

import { markdownTable } from "markdown-table";
import { bytes, count, text } from "./format.ts";
import type { Limits, Report, Table, Unit } from "./report.ts";

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
    ...report.tables.flatMap((table) => tableParts(table, report)),
    ...endOf(report),
  ];
  return `${parts.join("\n\n")}\n`;
}

function parameters({ environment: { device, model, engine }, run }: Report): string[][] {
  // Drivers that have no name for their vendor give its number.
  const names = [device.description, device.vendor, device.architecture]
    .filter((name) => name !== "" && !/^\d+$/.test(name));
  return [
    ["Device", `${names.join(", ")}, ${device.kind === "cpu" ? "CPU" : device.driver}`],
    ...(device.reason === undefined ? [] : [["Why the CPU", device.reason]]),
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
  const rate = (value: number, unit: Unit) => text({ value, unit });
  return [
    [`Memory bandwidth (${limits.source})`, rate(limits.bandwidth, "GB/s")],
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

function tableParts({ title, columns, rows, notes }: Table, { results }: Report): string[] {
  const cells = rows.map((row) =>
    row.map((cell, i) => typeof cell === "string" ? cell : text(results[cell]!, columns[i]))
  );
  return [`## ${title}`, grid(columns, cells), ...notes];
}

function endOf({ checks, warnings, outputHash }: Report): string[] {
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
