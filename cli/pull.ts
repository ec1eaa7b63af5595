/** `tvllm pull SPEC`: downloads a model from the hub to the cache. */

import type { Command } from "@commander-js/extra-typings";
import { getModel } from "../engine/hub/get.ts";
import { isOffline } from "../engine/hub/settings.ts";
import { downloadModel } from "./hub_model.ts";
import { parseHubArgument } from "./model_guess.ts";
import { addGlobalOptions } from "./options.ts";
import { Terminal } from "./terminal.ts";

/** Adds the command to `program`. */
export function addPull(program: Command): void {
  const command = program.command("pull")
    .summary("download a model from the Hugging Face hub")
    .description(
      'Downloads a model from the Hugging Face hub into the cache and prints its path. Resumes an interrupted download. Without QUANT, chooses Q4_K_M if the repository has it, otherwise Q8_0, otherwise its only model. Gated models need HF_TOKEN, or the login that "hf auth login" saved.',
    )
    .argument("<spec>", "hf:ORG/REPO[:QUANT][@REVISION]; QUANT may be a file's name")
    .option("--offline", "only look in the cache, without the network");
  addGlobalOptions(command).action(async (text, options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const spec = parseHubArgument(text);
    const offline = options.offline || isOffline();
    const model = await (offline ? getModel(spec, { offline }) : downloadModel(spec, terminal));
    terminal.write(`${model.path}\n`);
  });
}
