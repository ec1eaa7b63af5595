/**
 * `tvllm completions SHELL`: prints a completion script. For other shells than bash it is
 * @bomb.sh/tab's.
 */

import { script } from "@bomb.sh/tab";
import { Argument, type Command } from "@commander-js/extra-typings";
import type { Command as UntypedCommand } from "commander";
import bash from "./completions/bash.sh" with { type: "text" };
import { complete } from "./completion_words.ts";
import { completeModel } from "./model_names.ts";
import { Terminal } from "./terminal.ts";

const SHELLS = ["bash", "zsh", "fish", "powershell"] as const;

/**
 * Flags on the line after the words. cobra's scripts, and therefore tab's, define these numbers.
 */
const GOES_ON = 2;
const NO_FILES = 4;

/** The lines that load the completions, for the help. */
const START_UP_LINES = `
bash (needs the package bash-completion), in ~/.bashrc:
  eval "$(tvllm completions bash)"
zsh, in ~/.zshrc after compinit:
  eval "$(tvllm completions zsh)"
fish, in ~/.config/fish/config.fish:
  tvllm completions fish | source
PowerShell, in $PROFILE:
  tvllm completions powershell | Out-String | Invoke-Expression`;

/** Adds the command, and the hidden `complete` that the scripts call, to `program`. */
export function addCompletions(program: Command): void {
  program.command("completions")
    .summary("print a completion script for a shell")
    .description(
      "Prints a completion script for a shell. To use it, add a line to the start-up file of the " +
        "shell. tvllm must be on PATH.",
    )
    .addHelpText("after", START_UP_LINES)
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .helpOption("-h, --help", "show this help")
    .action((shell) => new Terminal({}).write(scriptOf(shell)));
  program.command("complete", { hidden: true })
    .argument("[words...]")
    .action((words) => {
      const tree = program as unknown as UntypedCommand; // the same class, without its types
      const { words: found, files, goesOn } = complete(tree, words, completeModel);
      const lines = found.map(({ value, summary }) => `${value}\t${summary}`);
      const directive = (goesOn ? GOES_ON : 0) + (files ? 0 : NO_FILES);
      new Terminal({}).write([...lines, `:${directive}`, ""].join("\n"));
    });
}

function scriptOf(shell: typeof SHELLS[number]): string {
  // tab's script for bash fails when it is sourced twice, and splits words at colons.
  if (shell === "bash") return bash;
  // `script` prints the script with console.log: catch it.
  const { log } = console;
  let text = "";
  console.log = (line: string) => text += `${line}\n`;
  try {
    script(shell, "tvllm", "tvllm");
  } finally {
    console.log = log;
  }
  // zsh's _describe ends a value at its first colon unless the colon is escaped. tab 0.0.22 has one
  // backslash too few here, compared with cobra.
  return shell === "zsh" ? text.replace("comp=${comp//:/\\:}", "comp=${comp//:/\\\\:}") : text;
}
