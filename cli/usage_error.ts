/** Converts commander's errors about the command line to messages of one line. */

import type { Command, CommanderError } from "@commander-js/extra-typings";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";

/** Returns an error that gives the problem, what was probably meant, and the command for help. */
export function usageError(
  error: CommanderError,
  program: Command,
  args: readonly string[],
): UsageError {
  const command = args.map((name) => program.commands.find((c) => c.name() === name)).find(Boolean);
  const subcommand = command?.commands.find((c) => args.includes(c.name()));
  const path = [command, subcommand].flatMap((c) => c === undefined ? [] : [c.name()]);
  const help = ["tvllm", ...path, "--help"].join(" ");
  const known: Record<string, () => readonly string[]> = {
    "commander.unknownCommand": () => program.commands.map((c) => c.name()),
    "commander.unknownOption": () =>
      [subcommand, command ?? program].flatMap((c) => c ? optionsOf(c) : []),
    "commander.invalidArgument": () => allowed === "" ? [] : allowed.split(", "),
  };
  const all = error.message.replace(/^error: /, "").replaceAll("\n", " ").replace(/\.$/, "");
  const [what = "", allowed = ""] = all.split(/\. (?:Allowed choices|The known \w+) are /);
  const plain = what.replace(
    /^command-argument value '(.*)' is invalid for argument '(\w+)'/s,
    "unknown $2 '$1'",
  );
  const near = nearest(WRONG.exec(plain)?.[1] ?? "", known[error.code]?.() ?? []);
  const way = near !== undefined
    ? ` (Did you mean ${near}?)`
    : allowed === ""
    ? ""
    : `; expected ${allowed.replace(/, (?=[^,]*$)/, " or ")}`;
  return new UsageError(`Cannot run the command: ${plain}${way}; see ${help}`, { cause: error });
}

/** Matches the invalid word: the last quoted one in commander's message. */
const WRONG = /'([^']*)'(?: is invalid)?$/;

function optionsOf(command: Pick<Command, "createHelp" | "options">): string[] {
  return command.options.flatMap(({ long, hidden }) => long && !hidden ? [long] : []);
}
