/** `tvllm list`: lists the models in the cache. */

import type { Command } from "@commander-js/extra-typings";
import { markdownTable } from "markdown-table";
import { printable } from "../engine/files/quote.ts";
import { hubCache } from "../engine/hub/settings.ts";
import { addGlobalOptions } from "./options.ts";
import { listSynthetics } from "./synthetic_cache.ts";
import { Terminal } from "./terminal.ts";
import { size } from "./transfer.ts";

/** Adds the command to `program`. */
export function addList(program: Command): void {
  const command = program.command("list")
    .summary("list the models in the cache")
    .description(
      "Lists the models in the cache: the name for -m, the size, and the date of the file.",
    )
    .option("--json", "print a JSON array that includes the paths");
  addGlobalOptions(command).action((options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const cache = hubCache();
    const models = [...cache.list(), ...listSynthetics()]
      .sort((a, b) => b.time.getTime() - a.time.getTime());
    if (options.json) {
      terminal.write(`${JSON.stringify(models)}\n`);
    } else if (models.length === 0) {
      terminal.note(
        `There is no model in ${printable(cache.directory)}; download one with tvllm pull`,
      );
    } else {
      const rows = models.map(({ spec, bytes, time }) => [
        printable(spec),
        size(bytes),
        time.toISOString().slice(0, 16).replace("T", " "),
      ]);
      terminal.write(
        `${
          markdownTable([["model", "size", "when (UTC)"], ...rows], { align: "lrl".split("") })
        }\n`,
      );
    }
  });
}
