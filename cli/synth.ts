/** `tvllm synth NAME`: writes a model of real dimensions and random weights. */

import { type Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { type GgufTensorData, writeGguf } from "../engine/files/gguf_writer.ts";
import { printable } from "../engine/files/quote.ts";
import {
  SYNTHETIC_FORMATS,
  type SyntheticFormat,
  syntheticModel,
  syntheticModelNames,
} from "../engine/models/synthetic_models.ts";
import { packedBytes } from "../kernels/tensor_types.ts";
import { UsageError } from "./exit_codes.ts";
import { addGlobalOptions, integer } from "./options.ts";
import { Terminal } from "./terminal.ts";

/** Adds the command to `program`. */
export function addSynth(program: Command): void {
  const command = program.command("synth")
    .summary("make a model of random weights")
    .description(
      "Writes a GGUF file with the real dimensions of a model and seeded random weights, to " +
        "measure speed and memory by without a download. Its answers mean nothing.\n\n" +
        `Models: ${syntheticModelNames().join(", ")}.`,
    )
    .argument("<name>", "the model whose dimensions it has", parseName)
    .addOption(
      new Option("--quant <type>", `weight format: ${SYNTHETIC_FORMATS.join(", ")}`)
        .default("Q4_0" as const).argParser(parseFormat),
    )
    .option("-o, --output <file>", "file to write; by default NAME-QUANT.gguf")
    .option("--seed <n>", "other weights for another number", integer(0, 2 ** 32 - 1), 1);
  addGlobalOptions(command).action((name, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const path = options.output ?? `${name}-${options.quant}.gguf`;
    const { metadata, tensors } = syntheticModel(name, options.quant, options.seed);
    const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    using progress = terminal.progress("Writing", total);
    const started = performance.now();
    let done = 0;
    writeWhole(path, (write) =>
      writeGguf(metadata, tensors, (bytes) => {
        write(bytes);
        progress.update(Math.min(total, done += bytes.length));
      }));
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    terminal.detail(`Made ${tensors.length} tensors in ${seconds} s`);
    terminal.write(`${printable(path)}\t${done} bytes\n`);
  });
}

function parseName(text: string): string {
  if (syntheticModelNames().includes(text)) return text;
  throw new InvalidArgumentError(`The known models are ${syntheticModelNames().join(", ")}.`);
}

function parseFormat(text: string): SyntheticFormat {
  const format = SYNTHETIC_FORMATS.find((known) => known === text.toUpperCase());
  if (format !== undefined) return format;
  throw new InvalidArgumentError(`The known formats are ${SYNTHETIC_FORMATS.join(", ")}.`);
}

function bytesOf({ type, shape }: GgufTensorData): number {
  return packedBytes(type, shape.reduce((a, b) => a * b, 1));
}

/** Writes beside `path` and renames: a file of that name is always a whole one. */
function writeWhole(path: string, make: (write: (bytes: Uint8Array) => void) => void): void {
  const unfinished = `${path}.${Deno.pid}.part`;
  try {
    {
      using file = Deno.openSync(unfinished, { write: true, create: true, truncate: true });
      make((bytes) => {
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      });
    }
    Deno.renameSync(unfinished, path);
  } catch (cause) {
    try {
      Deno.removeSync(unfinished);
    } catch {
      // It was never made.
    }
    if (cause instanceof RangeError) throw cause; // Ours, not the system's.
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(
      `Cannot write ${printable(path)}: ${printable(reason)}; give another place by -o`,
      { cause },
    );
  }
}
