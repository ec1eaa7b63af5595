/** `tvllm completions SHELL`: a completion script made from the command tree by @bomb.sh/tab. */

import tab from "@bomb.sh/tab/commander";
import type { Command } from "@commander-js/extra-typings";
import type { Command as UntypedCommand, Option } from "commander";
import { Terminal } from "./terminal.ts";

/** Adds the command, and the hidden `complete` that the scripts call, to `program`. */
export function addCompletions(program: Command): void {
  // The same class at run time: extra-typings has types and nothing else.
  const tree = program as unknown as UntypedCommand;
  const root = tab(tree, { completionCommandName: "completions" });
  for (const command of tree.commands) {
    if (command.name() === "completions") describe(command);
    if (command.name() === "complete") {
      // ":0" leaves the word to the shell, which completes file names.
      command.action((words: string[]) => {
        if (isFileName(tree, words)) new Terminal({}).write(":0\n");
        else root.parse(words);
      });
    }
  }
}

function describe(completions: UntypedCommand): void {
  completions
    .summary("print the completion script of a shell")
    .description(
      'Prints a completion script. For bash: eval "$(tvllm completions bash)" in ~/.bashrc; it ' +
        "needs the package bash-completion, and tvllm on PATH.",
    )
    .hook("postAction", () => {
      // The library's bash script has no file names to fall back to.
      if (completions.args[0] === "bash") {
        new Terminal({}).write("complete -o default -F __tvllm_complete tvllm\n");
      }
    });
}

/** Whether the last of `words` is where a file belongs. */
function isFileName(tree: UntypedCommand, words: readonly string[]): boolean {
  const command = tree.commands.find((c) => words.includes(c.name()));
  const current = words.at(-1);
  if (command === undefined || current === undefined) return false;
  let position = 0;
  let option: Option | undefined;
  for (const word of words.slice(words.indexOf(command.name()) + 1, -1)) {
    const isValue = option?.required === true;
    option = isValue ? undefined : command.options.find((o) => word === o.short || word === o.long);
    if (!isValue && !word.startsWith("-")) position++;
  }
  if (option?.required) return /<(spec|path|file)>/.test(option.flags);
  return !current.startsWith("-") && command.registeredArguments[position]?.name() === "model";
}
