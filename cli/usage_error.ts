/** A mistake on the command line, as commander found it, in one line. */

import type { Command, CommanderError } from "@commander-js/extra-typings";
import { UsageError } from "./exit_codes.ts";
import { nearest } from "./suggestion.ts";

/** Says what is wrong, what was probably meant, and where to read on. */
export function usageError(
  error: CommanderError,
  program: Command,
  args: readonly string[],
): UsageError {
  const command = args.map((name) => program.commands.find((c) => c.name() === name)).find(Boolean);
  const help = command === undefined ? "tvllm --help" : `tvllm ${command.name()} --help`;
  const known: Record<string, () => readonly string[]> = {
    "commander.unknownCommand": () => program.commands.map((c) => c.name()),
    "commander.unknownOption": () => optionsOf(command ?? program),
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

/** What is wrong: the last thing that is quoted. */
const WRONG = /'([^']*)'(?: is invalid)?$/;

function optionsOf(command: Pick<Command, "createHelp" | "options">): string[] {
  return command.options.flatMap(({ long, hidden }) => long && !hidden ? [long] : []);
}
