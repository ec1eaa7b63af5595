/** `tvllm help [TOPIC]`: the help of a command, or of something that several commands share. */

import { Argument, type Command } from "@commander-js/extra-typings";
import type { Command as UntypedCommand } from "commander";
import { SUITES } from "../bench/suites/mod.ts";
import { printable } from "../engine/files/quote.ts";
import { UsageError } from "./exit_codes.ts";
import { Terminal } from "./terminal.ts";
import bench from "./help/bench.txt" with { type: "text" };
import devices from "./help/devices.txt" with { type: "text" };
import models from "./help/models.txt" with { type: "text" };
import sampling from "./help/sampling.txt" with { type: "text" };

const TOPICS: ReadonlyMap<string, string> = new Map([
  ["models", models],
  ["sampling", sampling],
  ["bench", bench.replace("{suites}", suiteList())],
  ["devices", devices],
]);

/** Adds the command to `program`, which has all others. */
export function addHelp(program: Command): void {
  const tree = program as unknown as UntypedCommand;
  const topics = [...TOPICS.keys()];
  const commands = tree.commands.map((command) => command.name());
  program.helpCommand(false).command("help")
    .summary("explain models, sampling, bench, devices, or a command")
    .description(`Explains ${topics.join(", ")}, or a command.`)
    .addArgument(
      new Argument("[topic]", "what to explain")
        .choices([...new Set([...topics, ...commands])]) // for completions
        .argParser((topic) => topic), // which the action checks, in better words
    )
    .helpOption("-h, --help", "show this help")
    .action((topic) => {
      if (topic === undefined) return program.help();
      const command = tree.commands.find((command) => command.name() === topic);
      const text = TOPICS.get(topic);
      if (text !== undefined) {
        const more = command ? `\ntvllm ${topic} --help lists the options.\n` : "";
        new Terminal({}).write(text + more);
      } else if (command) command.help();
      else {
        throw new UsageError(
          `Cannot explain ${printable(topic)}: the topics are ${topics.join(", ")}; ` +
            `the commands are ${commands.join(", ")}`,
        );
      }
    });
}

function suiteList(): string {
  const rows = [...SUITES, { name: "all", summary: "all of them" }];
  return rows.map(({ name, summary }) => `    ${name.padEnd(13)} ${summary}`).join("\n");
}
