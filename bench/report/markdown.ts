/** A report as markdown. */

import { markdownTable } from "markdown-table";
import { bytes, count, text } from "./format.ts";
import { DEFINED, type DefinedMetric } from "./metrics.ts";
import type { Limits, Report, Table, Unit } from "./report.ts";
import { plural } from "../../engine/plural.ts";

export interface MarkdownOptions {
  /** Whether to end with the definitions of the report's metrics. */
  readonly explain?: boolean;
}

/** The report, from its title to its output check. */
export function toMarkdown(report: Report, { explain = false }: MarkdownOptions = {}): string {
  const parts = [
    `# tvllm bench ${report.suite}`,
    ...(report.complete
      ? []
      : ["**Cut off: the tables show only what was measured before the run stopped.**"]),
    grid(["Parameter", "Value"], parameters(report)),
    "## Theoretical limits",
    report.limits === null
      ? report.environment.endpoint
        ? "Not measured: the device of an endpoint cannot be probed."
        : "Not measured: this backend cannot be probed."
      : grid(["Limit", "Value", "Calculation"], limitRows(report.limits, report.environment)),
    ...report.tables.flatMap((table) => tableParts(table, report)),
    ...endOf(report),
    ...(explain ? ["## Metrics of this report", explanations(report)] : []),
  ];
  return `${parts.join("\n\n")}\n`;
}

/** The parameters of the report, one per row. */
export function parameters(report: Report): string[][] {
  const { environment: { host, device, engine, endpoint }, run } = report;
  // Some drivers give the number of the vendor instead of its name.
  const names = [device.description, device.vendor, device.architecture]
    .filter((name) => name !== "" && !/^\d+$/.test(name));
  const memory = host.memory === null
    ? ""
    : `, ${bytes(host.memory).replace(/ \(.*/, "")} of memory`;
  return [
    [endpoint ? "System of the client" : "System", `${host.system}${memory}`],
    [
      "Processor",
      `${host.processor}, ${host.cores} ${
        plural(host.cores, "logical processor")
      }, ${host.threads} used; features: ${
        host.features.length === 0 ? "unknown" : host.features.join(", ")
      }`,
    ],
    ...(endpoint ? endpointRows(report.environment) : modelRows(report.environment, names)),
    [
      endpoint ? "Client" : "Engine",
      `tvllm ${engine.tvllm}, commit ${engine.commit}, Deno ${engine.deno}` +
      (endpoint ? "" : `, kernels: ${engine.kernels}; ${engine.kvType} KV cache`),
    ],
    [
      "Run",
      // Named options, as some suites choose their own requests.
      `options: prompts ${run.prompts}, prompt tokens ${run.promptTokens}, max tokens ${run.maxTokens}, ` +
      `warm-ups ${run.warmup === "steady" ? "until steady" : run.warmup}, ` +
      `repetitions ${run.repetitions}, ${
        run.sampling.temperature === 0 ? "greedy" : `temperature ${run.sampling.temperature}`
      }, seed ${run.seed}, ${run.date}`,
    ],
    ["Warm-up", warmUps(report)],
    ["Command", run.command],
  ];
}

const COUNTED = {
  local: "a tokenizer of the client",
  usage: "the usage that the server reports",
  tokenizer: "the server's tokenizer, as the server reports no usage",
  chunks: "chunks of the stream, as the server reports no usage and does not tokenize",
} as const;

const ROUTES = {
  completions: "/v1/completions",
  chat: "/v1/chat/completions",
  ollama: "/api/generate, ollama's own",
} as const;

function endpointRows({ model, endpoint }: Report["environment"]): string[][] {
  const { url, server, api, tokens } = endpoint!;
  return [
    ["Endpoint", `${url}, server ${server}`],
    ["Model", model.name],
    ["API", ROUTES[api]],
    ["Output tokens", `counted by ${COUNTED[tokens]}`],
  ];
}

function modelRows(
  { device, model }: Report["environment"],
  names: readonly string[],
): string[][] {
  return [
    ["Device", `${names.join(", ")}, ${device.kind === "cpu" ? "CPU" : device.driver}`],
    ...(device.reason === undefined ? [] : [["Why the CPU", device.reason]]),
    ["Graphics API", `${device.api}, driver ${device.driverVersion}`],
    [
      "Model",
      `${model.name}, ${model.architecture}, ${count(model.parameters)} parameters, ` +
      `${model.formats.join(" + ")}, ${model.bitsPerWeight.toFixed(2)} bits per weight`,
    ],
    ["Model SHA-256", model.sha256],
    ["Model Size", `${bytes(model.fileBytes)} on disk, ${bytes(model.deviceBytes)} on the device`],
    [
      "Dimensions",
      `dim ${model.dim}, layers ${model.layers}, heads ${model.heads}, KV heads ${model.kvHeads}, ` +
      `head size ${model.headDim}, vocabulary ${model.vocabSize}`,
    ],
  ];
}

/** The number of warm-up runs, and the cases that were not steady after them. */
function warmUps({ warmUps, run }: Report): string {
  if (warmUps.length === 0) return "none: nothing was repeated";
  const runs = warmUps.map((one) => one.runs);
  const [least, most] = [Math.min(...runs), Math.max(...runs)];
  const spent = least === most ? `${most}` : `${least} to ${most}`;
  if (run.warmup !== "steady") return `${spent} ${plural(most, "run")} per case, as requested`;
  const unsteady = warmUps.filter(({ steady }) => !steady);
  const settled = `${spent} ${plural(most, "run")} per case; three agreed within 3 % in ${
    warmUps.length - unsteady.length
  } of ${warmUps.length} ${plural(warmUps.length, "case")}`;
  if (unsteady.length === 0) return settled;
  const named = unsteady.map(({ case: name, spread }) =>
    spread === undefined ? name : `${name} (${Math.round(100 * spread)} %)`
  );
  const shown = named.slice(0, 6).join(", ");
  const more = named.length > 6 ? ` and ${named.length - 6} more` : "";
  return `${settled}; the maximum of five was reached in ${shown}${more}`;
}

/** The limits: name, value and calculation of each. */
export function limitRows(limits: Limits, { model }: Report["environment"]): string[][] {
  const measured = (name: string, unit: Unit) => {
    const { samples, interval } = limits.probes[name]!;
    const value = limits[name as "bandwidth"];
    return [
      text({ value, unit, ...(interval && { interval }) }),
      `median of ${samples.length}, 95 % interval`,
    ];
  };
  const rate = (value: number, unit: Unit) => text({ value, unit });
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;
  const best = Math.min(limits.memoryBound, limits.arithmeticBound);
  const bandwidth = limits.source === "given"
    ? [rate(limits.bandwidth, "GB/s"), "--bandwidth"]
    : measured("bandwidth", "GB/s");
  return [
    [`Memory bandwidth (${limits.source})`, ...bandwidth],
    ["Multiply-add rate (measured)", ...measured("flops", "GFLOPS")],
    ["int8 dot rate (measured)", ...measured("int8", "GOPS")],
    ["Dispatch overhead (measured)", ...measured("dispatch", "us")],
    ["Readback latency (measured)", ...measured("readback", "ms")],
    ["Upload rate (measured)", ...measured("upload", "GB/s")],
    [
      "Bytes read per decoded token (computed)",
      bytes(limits.bytesPerToken),
      `${megabytes(model.readBytes)} of weights + ${
        megabytes(limits.kvReadBytes)
      } of keys and values at ${count(limits.position)} tokens` +
      (model.states ? ` + 2 × ${megabytes(model.states.bytes)} of states` : ""),
    ],
    [
      "Max tok/s, memory-bound (computed)",
      rate(limits.memoryBound, "tok/s"),
      `${rate(limits.bandwidth, "GB/s")} / ${megabytes(limits.bytesPerToken)}`,
    ],
    [
      "Max tok/s, arithmetic-bound (computed)",
      rate(limits.arithmeticBound, "tok/s"),
      `${rate(limits.flops, "GFLOPS")} / ${(limits.operationsPerToken / 1e9).toPrecision(3)} GFLOP`,
    ],
    ["Min TPOT (computed)", rate(1000 / best, "ms"), `1000 ms / ${rate(best, "tok/s")}`],
  ];
}

function tableParts({ title, columns, rows, notes }: Table, { results }: Report): string[] {
  const cells = rows.map((row) => cellTexts(row, columns, results));
  return [`## ${title}`, grid(columns, cells), ...notes];
}

/** The cells of a row as text. */
export function cellTexts(
  row: Table["rows"][number],
  columns: readonly string[],
  results: Report["results"],
): string[] {
  return row.map((cell, i) => typeof cell === "string" ? cell : text(results[cell]!, columns[i]));
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

/** A table in markdown. */
export function grid(head: string[], rows: readonly string[][]): string {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  return markdownTable([head, ...cells]);
}

/** The definitions of the metrics that a report has. */
function explanations({ results }: Report): string {
  const ids = new Set(results.map(({ metric }) => metric));
  return definitions(DEFINED.filter(({ id }) => ids.has(id)));
}

/** Metrics as a table in markdown. */
export function definitions(metrics: readonly DefinedMetric[]): string {
  return grid(
    ["Metric", "Id", "Unit", "Definition"],
    metrics.map(({ name, id, unit, definition }) => [name, `\`${id}\``, unit, definition]),
  );
}
