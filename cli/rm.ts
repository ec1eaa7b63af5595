/** `tvllm rm SPEC`: removes a model from the cache. */

import type { Command } from "@commander-js/extra-typings";
import { ModelNotFoundError } from "../engine/errors.ts";
import { hubCache } from "../engine/hub/settings.ts";
import { formatHubSpec } from "../engine/hub/spec.ts";
import { parseHubArgument } from "./model_guess.ts";
import { addGlobalOptions } from "./options.ts";
import { isSyntheticSpec } from "./model_specs.ts";
import { removeSynthetic } from "./synthetic_cache.ts";
import { Terminal } from "./terminal.ts";
import { size } from "./transfer.ts";

/** Adds the command to `program`. */
export function addRm(program: Command): void {
  const command = program.command("rm")
    .summary("remove a model from the cache")
    .description(
      "Removes a model from the cache, by the name that tvllm list shows. hf:ORG/REPO alone removes " +
        "everything of this repository, including unfinished downloads.",
    )
    .argument("<spec>", "hf:ORG/REPO[:QUANT][@REVISION], or synth:NAME:QUANT");
  addGlobalOptions(command).action(async (text, _options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const cache = hubCache();
    const isSynthetic = isSyntheticSpec(text);
    const parsed = isSynthetic ? undefined : parseHubArgument(text);
    const spec = parsed === undefined ? text : formatHubSpec(parsed);
    const freed = parsed === undefined ? removeSynthetic(text) : await cache.remove(parsed);
    if (freed === undefined) {
      throw new ModelNotFoundError(
        `Cannot remove ${spec}: it is not in the cache ${cache.directory}; ` +
          `tvllm list shows its models`,
      );
    }
    terminal.note(`Removed ${spec}, ${size(freed)}`);
  });
}
