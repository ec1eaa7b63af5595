/** `tvllm inspect MODEL`: shows the contents of a model file without loading its weights. */

import type { Command } from "@commander-js/extra-typings";
import { basename } from "node:path";
import { markdownTable } from "markdown-table";
import type { MetadataValue, ModelFile, TensorInfo } from "../engine/files/model_file.ts";
import { printable } from "../engine/files/quote.ts";
import type { TensorType } from "../kernels/tensor_types.ts";
import { companionKind } from "../engine/model/file_kind.ts";
import { UsageError } from "./exit_codes.ts";
import { openModel } from "./model_argument.ts";
import { addGlobalOptions, modelOption } from "./options.ts";
import { Terminal } from "./terminal.ts";
import { counted } from "./transfer.ts";

/** Adds the command to `program`. */
export function addInspect(program: Command): void {
  const command = program.command("inspect")
    .summary("show the metadata and tensors of a model")
    .description("Shows a model's metadata and its tensors: type, shape, size and bits per weight.")
    .argument("[model]", "model, as with -m; for a split model, any part")
    .addOption(modelOption())
    .option("--json", "print everything, including the vocabulary, as one JSON object");
  addGlobalOptions(command).action(async (path, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    // An argument overrides the variable TVLLM_MODEL; an argument and --model are an error.
    if (path !== undefined && command.getOptionValueSource("model") === "cli") {
      throw new UsageError("Cannot inspect two models: give an argument or --model");
    }
    const model = await openModel(path ?? options.model, terminal, { anyType: true });
    try {
      terminal.write(options.json ? `${toJson(describeModel(model))}\n` : toMarkdown(model));
    } finally {
      model.close();
    }
  });
}

/** Totals of all tensors of one type. */
interface TypeTotal {
  readonly type: TensorType;
  readonly tensors: number;
  readonly weights: number;
  readonly bytes: number;
}

function describeModel(model: ModelFile) {
  return {
    format: model.format,
    kind: companionKind(model.metadata) ?? "a language model",
    files: model.paths,
    bytes: model.byteLength,
    metadata: Object.fromEntries(model.metadata),
    tensors: Array.from(model.tensors.values(), (tensor) => ({
      name: tensor.name,
      type: tensor.type,
      shape: tensor.shape,
      bytes: tensor.byteLength,
      bitsPerWeight: bitsPerWeight(tensor.byteLength, weightsOf(tensor)),
      file: tensor.file,
      byteOffset: tensor.byteOffset,
    })),
    totals: totalsByType(model).map((total) => ({
      ...total,
      bitsPerWeight: bitsPerWeight(total.bytes, total.weights),
    })),
  };
}

/** JSON has no 64-bit integers, NaN or infinities: they are written as strings. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_, v) => {
    const unknownToJson = typeof v === "bigint" || (typeof v === "number" && !Number.isFinite(v));
    return unknownToJson ? String(v) : v;
  });
}

function toMarkdown(model: ModelFile): string {
  const name = model.metadata.get("general.name");
  const kind = companionKind(model.metadata);
  const totals = totalsByType(model);
  const all = {
    tensors: model.tensors.size,
    weights: sum(totals, (total) => total.weights),
    bytes: sum(totals, (total) => total.bytes),
  };
  const metadata = Array.from(model.metadata, ([key, value]) => [printable(key), shown(value)]);
  const tensors = Array.from(model.tensors.values(), (tensor) => [
    printable(tensor.name),
    tensor.type,
    tensor.shape.join(" × "),
    count(tensor.byteLength),
    bitsPerWeight(tensor.byteLength, weightsOf(tensor)).toFixed(2),
  ]);
  const totalRows = [...totals, { type: "all", ...all }].map((total) => [
    total.type,
    count(total.tensors),
    count(total.weights),
    count(total.bytes),
    bitsPerWeight(total.bytes, total.weights).toFixed(2),
  ]);
  return [
    `# ${typeof name === "string" ? printable(name) : basename(printable(model.paths[0]!))}`,
    `${model.format}, ${count(model.byteLength)} bytes in ` +
    `${counted(model.paths.length, "file")}` +
    (kind === undefined ? "" : `

This is ${kind}, not a language model.`),
    "## Metadata",
    table(["key", "value"], metadata, ""),
    "## Tensors",
    table(["name", "type", "shape", "bytes", "bits/weight"], tensors, "lllrr"),
    "## Totals",
    table(["type", "tensors", "weights", "bytes", "bits/weight"], totalRows, "lrrrr"),
  ].join("\n\n") + "\n";
}

function table(head: string[], rows: string[][], align: string): string {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  return markdownTable([head, ...cells], {
    align: [...align],
    // The metadata table is not padded, because its values differ too much in length.
    alignDelimiters: align !== "",
  });
}

/** Formats a value as one line of limited length. */
function shown(value: MetadataValue): string {
  if (!Array.isArray(value)) return clip(printable(String(value)), 72);
  const first = value.slice(0, 6).map((item) => clip(printable(String(item)), 12)).join(", ");
  return `${count(value.length)} × [${first}${value.length > 6 ? ", …" : ""}]`;
}

function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function totalsByType(model: ModelFile): TypeTotal[] {
  const totals = new Map<TensorType, TypeTotal>();
  for (const tensor of model.tensors.values()) {
    const { type } = tensor;
    const before = totals.get(type) ?? { tensors: 0, weights: 0, bytes: 0 };
    totals.set(type, {
      type,
      tensors: before.tensors + 1,
      weights: before.weights + weightsOf(tensor),
      bytes: before.bytes + tensor.byteLength,
    });
  }
  return [...totals.values()].sort((a, b) => b.bytes - a.bytes);
}

function weightsOf(tensor: TensorInfo): number {
  return tensor.shape.reduce((product, size) => product * size, 1);
}

function bitsPerWeight(bytes: number, weights: number): number {
  return weights === 0 ? 0 : 8 * bytes / weights;
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

/** Formats 1234567 as 1,234,567. */
function count(n: number): string {
  return n.toLocaleString("en-US");
}
