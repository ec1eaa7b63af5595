/** `tvllm synth NAME`: creates a model with the dimensions of a real one and random weights. */

import { Argument, type Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { printable } from "../engine/files/quote.ts";
import {
  DIRECTORY_FORMATS,
  MLX_FORMATS,
  type MlxFormat,
  syntheticDirectory,
} from "../engine/synthetic/directory.ts";
import {
  SYNTHETIC_FORMATS,
  type SyntheticFormat,
  syntheticModel,
  syntheticModelNames,
} from "../engine/synthetic/models.ts";
import { preTokenizer } from "../engine/text/pre_tokenizers.ts";
import { UsageError } from "./exit_codes.ts";
import { addGlobalOptions, integer } from "./options.ts";
import { writeDirectory, writeGgufFile } from "./synthetic_files.ts";
import { Terminal } from "./terminal.ts";
import { plural } from "../engine/plural.ts";

/** Adds the command to `program`. */
export function addSynth(program: Command): void {
  const command = program.command("synth")
    .summary("create a model with random weights")
    .description(
      "Creates a model with the dimensions of a real one and random weights, to measure speed and " +
        "memory without a download. Its answers are meaningless. With -m synth:NAME:QUANT, other commands create such a model in the cache.",
    )
    .addArgument(
      new Argument("<name>", "model whose dimensions to use").choices(syntheticModelNames()),
    )
    .addOption(
      new Option("--format <format>", "write a GGUF file or a directory of safetensors")
        .choices(["gguf", "safetensors"] as const).default("gguf" as const),
    )
    .addOption(
      new Option(
        "--quant <type>",
        "weight format (default: Q4_0; BF16 with --format safetensors); MLX formats need safetensors",
      ).choices(ALL_FORMATS).argParser(parseFormat), // also in lower case
    )
    .option(
      "-o, --output <path>",
      "file or directory to write (default: NAME-QUANT.gguf, or NAME-QUANT for safetensors)",
    )
    .option("--seed <n>", "seed of the random weights", integer(0, 2 ** 32 - 1), 1);
  addGlobalOptions(command).action(async (name, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const isFile = options.format === "gguf";
    const quant = options.quant ?? (isFile ? "Q4_0" : "BF16");
    const path = options.output ?? `${name}-${quant}${isFile ? ".gguf" : ""}`;
    const target = {
      path,
      unfinished: `${path.replace(/\/+$/, "")}.part`,
      wayOut: "choose another path with -o",
    };
    const started = performance.now();
    const bytes = await (isFile
      ? writeGgufFile(syntheticModel(name, ggufFormat(quant), options.seed), target, terminal)
      : writeDirectory(
        syntheticDirectory(name, {
          format: directoryFormat(quant),
          seed: options.seed,
          preTokenizer: (pre) =>
            preTokenizer(pre)!.config,
        }),
        target,
        terminal,
      ));
    terminal.detail(`Created in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    terminal.write(`${printable(path)}\t${bytes} ${plural(bytes, "byte")}\n`);
  });
}

/** All values of --quant. */
const ALL_FORMATS = [...SYNTHETIC_FORMATS, ...MLX_FORMATS] as const;
type AnyFormat = SyntheticFormat | MlxFormat;

function ggufFormat(quant: AnyFormat): SyntheticFormat {
  const format = SYNTHETIC_FORMATS.find((known) => known === quant);
  if (format !== undefined) return format;
  throw new UsageError(`Cannot write a GGUF file in ${quant}: add --format safetensors`);
}

function directoryFormat(quant: AnyFormat) {
  const formats = [...DIRECTORY_FORMATS, ...MLX_FORMATS];
  const format = formats.find((known) => known === quant);
  if (format !== undefined) return format;
  throw new UsageError(
    `Cannot write safetensors in ${quant}: choose one of ${formats.join(", ")} with --quant`,
  );
}

function parseFormat(text: string): AnyFormat {
  const format = ALL_FORMATS.find((known) => known === text.toUpperCase());
  if (format !== undefined) return format;
  throw new InvalidArgumentError(`The known formats are ${ALL_FORMATS.join(", ")}.`);
}
