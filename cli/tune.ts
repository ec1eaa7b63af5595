/** `tvllm tune`: finds the kernel variants that are fastest on this GPU, and saves them. */

import { type Command, Option } from "@commander-js/extra-typings";
import { markdownTable } from "markdown-table";
import { tune } from "../bench/kernels/tune.ts";
import type { TunedResult } from "../bench/kernels/tuned_variant.ts";
import { printable } from "../engine/files/quote.ts";
import { openGpu } from "../engine/gpu/device.ts";
import { readModel } from "../engine/model/read_model.ts";
import { TuneFile, tuneFilePath } from "../engine/tune_file.ts";
import { tuneKey } from "../engine/tuned.ts";
import { defaultTuning } from "../kernels/tuning.ts";
import { UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { openModel } from "./model_argument.ts";
import { addGlobalOptions, modelOption } from "./options.ts";
import { Terminal } from "./terminal.ts";
import { writeFailure } from "./write_failure.ts";

/** Adds the command to `program`. */
export function addTune(program: Command): void {
  const command = program.command("tune")
    .summary("find the fastest kernel variants for this GPU")
    .description(
      "Measures the speed of each kernel's variants on this machine's GPU, with the shapes of a model. Saves the fastest variants in the model cache, and later runs on this GPU use them. Takes a few seconds.",
    )
    .addOption(modelOption())
    // Accepted because other commands have it; only GPUs are tuned.
    .addOption(new Option("--device <kind>", "device to tune").choices(["gpu"]).hideHelp())
    .addOption(
      new Option("--backend <name>", "graphics API of the GPU").choices([
        "vulkan",
        "metal",
        "dx12",
      ]),
    )
    .option("--json", "print everything as one JSON object");
  addGlobalOptions(command).action(async ({ model, json }, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const started = performance.now();
    // Must be open before the model is opened, because that drops write access.
    using output = openTuneFile();
    const gpu = await openGpu();
    const file = await openModel(model, terminal);
    try {
      const { config, weights } = readModel(file);
      const { tuning: usual, owner } = defaultTuning(gpu);
      const results = await tuneAll(
        terminal,
        (progress, signal) => tune(gpu, { file: weights, config }, { usual, progress, signal }),
      );
      const key = tuneKey(gpu);
      const date = new Date().toISOString().slice(0, 10);
      const choices = Object.fromEntries(results.map(({ family, chosen }) => [family, chosen]));
      output.add({ ...key, date, choices });
      const seconds = (performance.now() - started) / 1000;
      if (json) {
        const found = { ...key, date, seconds, path: output.path, usual: owner, families: results };
        terminal.write(`${JSON.stringify(found)}\n`);
      } else {
        terminal.write(`${gpu.description}\n\n${tableOf(results)}\n`);
        terminal.note(
          `Saved in ${printable(output.path)}; tuning took ${seconds.toFixed(1)} s`,
        );
      }
    } finally {
      file.close();
      gpu.device.destroy();
    }
  });
}

function openTuneFile(): TuneFile {
  const path = tuneFilePath();
  const wayOut = "set TVLLM_CACHE to a directory that can be written";
  if (path === undefined) throw new UsageError(`Cannot save the tuning: ${wayOut}`);
  try {
    return new TuneFile(path);
  } catch (cause) {
    throw new UsageError(`Cannot write ${printable(path)}: ${writeFailure(cause, path, wayOut)}`, {
      cause,
    });
  }
}

type Progress = Parameters<typeof tune>[2]["progress"];

/** Runs the tuning with progress on the terminal. */
async function tuneAll(
  terminal: Terminal,
  run: (progress: Progress, signal: AbortSignal) => AsyncIterable<TunedResult>,
): Promise<TunedResult[]> {
  using interrupts = new Interrupts();
  using bar = terminal.progress("Tuning");
  bar.announce();
  const results: TunedResult[] = [];
  const progress: Progress = (done, total, what) =>
    bar.update(undefined, `${what} (${done + 1} of ${total})`);
  for await (const result of run(progress, interrupts.signal)) results.push(result);
  return results;
}

/** Returns a table of all variants, with their times relative to the default one. */
function tableOf(results: readonly TunedResult[]): string {
  const rows = results.flatMap(({ family, variants, usual, chosen }) =>
    variants.map(({ name, ratio, fault }) => [
      family,
      name,
      fault === undefined ? ratio?.toFixed(2) ?? "-" : `not used: ${printable(fault)}`,
      [...(name === chosen ? ["chosen"] : []), ...(name === usual ? ["default"] : [])].join(", "),
    ])
  );
  return markdownTable([["kernels", "variant", "time vs default", ""], ...rows], {
    align: [..."lll "],
  });
}
