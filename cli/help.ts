/**
 * `tvllm help [TOPIC]`: prints the help of a command, or of a topic that concerns several commands.
 */

import { Argument, type Command } from "@commander-js/extra-typings";
import type { Command as UntypedCommand } from "commander";
import { SERVER_SUITES, SUITES } from "../bench/suites/mod.ts";
import { printable } from "../engine/files/quote.ts";
import { DEFINED } from "../bench/report/metrics.ts";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";
import { Terminal } from "./terminal.ts";
import bench from "./help/bench.txt" with { type: "text" };
import devices from "./help/devices.txt" with { type: "text" };
import metrics from "./help/metrics.txt" with { type: "text" };
import models from "./help/models.txt" with { type: "text" };
import sampling from "./help/sampling.txt" with { type: "text" };

const TOPICS: ReadonlyMap<string, string> = new Map([
  ["models", models],
  ["sampling", sampling],
  ["bench", bench.replace("{suites}", suiteList())],
  ["metrics", metrics.replace("{metrics}", metricList())],
  ["devices", devices],
]);

/** Adds the command to `program`, after all other commands. */
export function addHelp(program: Command): void {
  const tree = program as unknown as UntypedCommand;
  const topics = [...TOPICS.keys()];
  const commands = tree.commands.map((command) => command.name());
  program.helpCommand(false).command("help")
    .summary("explain a topic (models, sampling, bench, metrics, devices) or a command")
    .description(`Explains ${topics.join(", ")}, or a command.`)
    .addArgument(
      new Argument("[topic]", "what to explain")
        .choices([...new Set([...topics, ...commands])]) // for completions
        .argParser((topic) => topic), // The action checks it, with a better message.
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
        const near = nearest(topic, [...topics, ...commands]);
        throw new UsageError(
          `Cannot explain ${printable(topic)}: ` +
            (near === undefined
              ? `the topics are ${topics.join(", ")}; the commands are ${commands.join(", ")}`
              : `did you mean ${near}?`),
        );
      }
    });
}

function metricList(): string {
  return DEFINED.map(({ name, id, unit, definition }) =>
    `  ${name} (${id}${unit === "" ? "" : `, ${unit}`})\n${wrapped(definition, 72)}`
  ).join("\n");
}

/** Wraps a text to indented lines of at most `width` characters without the indentation. */
function wrapped(text: string, width: number): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = `${lines.at(-1)!} ${word}`.trim();
    if (line.length <= width) lines.splice(-1, 1, line);
    else lines.push(word);
  }
  return lines.map((line) => `    ${line}`).join("\n");
}

function suiteList(): string {
  const rows = [...SUITES, ...SERVER_SUITES, { name: "all", summary: "all suites but load" }];
  return rows.map(({ name, summary }) => `    ${name.padEnd(13)} ${summary}`).join("\n");
}
