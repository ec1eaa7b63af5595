/** `tvllm rm SPEC`: removes a model from the cache. */

import type { Command } from "@commander-js/extra-typings";
import { ModelNotFoundError } from "../engine/errors.ts";
import { hubCache } from "../engine/hub/settings.ts";
import { formatHubSpec, parseHubSpec } from "../engine/hub/spec.ts";
import { addGlobalOptions } from "./options.ts";
import { isSyntheticSpec, removeSynthetic } from "./synthetic_cache.ts";
import { Terminal } from "./terminal.ts";
import { size } from "./transfer.ts";

/** Adds the command to `program`. */
export function addRm(program: Command): void {
  const command = program.command("rm")
    .summary("remove a model from the cache")
    .description(
      "Removes a model from the cache, as tvllm list calls it. hf:ORG/REPO alone removes all that\n" +
        "is there of this repository, unfinished downloads included.",
    )
    .argument("<spec>", "hf:ORG/REPO[:QUANT][@REVISION], or synth:NAME:QUANT");
  addGlobalOptions(command).action(async (text, _options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const cache = hubCache();
    const isSynthetic = isSyntheticSpec(text);
    const spec = isSynthetic ? text : formatHubSpec(parseHubSpec(text));
    const freed = isSynthetic ? removeSynthetic(text) : await cache.remove(parseHubSpec(text));
    if (freed === undefined) {
      throw new ModelNotFoundError(
        `Cannot remove ${spec}: it is not in the cache ${cache.directory}; ` +
          `tvllm list shows what is`,
      );
    }
    terminal.note(`Removed ${spec}, ${size(freed)}`);
  });
}
