/** `tvllm pull SPEC`: gets a model from the hub into the cache. */

import type { Command } from "@commander-js/extra-typings";
import { ModelNotFoundError } from "../engine/errors.ts";
import { pull } from "../engine/files/hub.ts";
import { hubAccess, hubCache, hubSpec, isOffline } from "./hub_settings.ts";
import { Interrupts } from "./interrupt.ts";
import { addGlobalOptions } from "./options.ts";
import { Terminal } from "./terminal.ts";
import { duration, size, transferLine, TransferRate } from "./transfer.ts";

/** Adds the command to `program`. */
export function addPull(program: Command): void {
  const command = program.command("pull")
    .summary("get a model from the hub")
    .description(
      "Gets a model from the hub into the cache, or goes on where it was cut off, and prints its\n" +
        "path. Without QUANT: Q4_K_M, else Q8_0, else the only one. HF_TOKEN opens gated models.",
    )
    .argument("<spec>", "hf:ORG/REPO[:QUANT][@REVISION]; QUANT may be a file's name")
    .option("--offline", "no network: only look into the cache");
  addGlobalOptions(command).action(async (text, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const spec = hubSpec(text);
    const cache = hubCache();
    if (options.offline || isOffline()) {
      const model = cache.find(spec);
      if (model === undefined) {
        throw new ModelNotFoundError(
          `Cannot find ${text} in the cache ${cache.directory}: run it again with the network`,
        );
      }
      terminal.write(`${model.path}\n`);
      return;
    }
    using interrupts = new Interrupts();
    const started = performance.now();
    const rate = new TransferRate();
    let total = 0;
    let progress: ReturnType<Terminal["progress"]> | undefined;
    try {
      const model = await pull(spec, cache, {
        ...hubAccess(),
        signal: interrupts.signal,
        onStart: (files, bytes) => {
          total = bytes;
          terminal.note(
            `Downloading ${files === 1 ? "one file" : `${files} files`}, ${size(bytes)}`,
          );
          progress = terminal.progress("", bytes);
        },
        onProgress: (bytes) =>
          progress?.update(bytes, transferLine(bytes, total, rate.add(bytes, performance.now()))),
        onRetry: (line) => terminal.warn(line),
        onWait: () => terminal.note("Waiting for another process that downloads the same file"),
      });
      progress?.[Symbol.dispose]();
      terminal.note(
        total === 0
          ? `${model.spec} is there already`
          : `Downloaded and verified in ${duration((performance.now() - started) / 1000)}`,
      );
      terminal.write(`${model.path}\n`);
    } finally {
      progress?.[Symbol.dispose]();
    }
  });
}
