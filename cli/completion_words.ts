/** Finds the words to which a shell may complete a command line, from the command tree. */

import type { Command, Option } from "commander";

/** A word, and its description. */
export interface Candidate {
  readonly value: string;
  readonly summary: string;
}

/** The completions of the last word. */
export interface Candidates {
  readonly words: readonly Candidate[];
  /** Whether file names are valid here. */
  readonly files: boolean;
  /** Whether the offered words may be prefixes of longer words. */
  readonly goesOn?: boolean;
}

/** Returns model names that may complete `typed`, as an argument of `command`. */
export type ModelNames = (typed: string, command: string) => Candidates;

/** Placeholders of options and arguments whose values are models or files. */
const MODEL = /^(spec|model)$/;
const FILE = /^(path|file|baseline|report)$/;

/**
 * Returns the completions of the last of `words`, which follow the program's name.
 *
 * @param models returns the names of models
 */
export function complete(
  program: Command,
  words: readonly string[],
  models: ModelNames,
): Candidates {
  const typed = words.at(-1) ?? "";
  let command = program;
  let option: Option | undefined;
  let position = 0;
  for (const word of words.slice(0, -1)) {
    const isValue = option?.required === true;
    option = isValue ? undefined : command.options.find((o) => word === o.short || word === o.long);
    if (isValue || word.startsWith("-")) continue;
    const found = command.commands.find((c) => c.name() === word);
    if (command === program && found !== undefined) command = found;
    else position++;
  }
  const [, long, value] = /^(--[^=]+)=(.*)$/s.exec(typed) ?? [];
  if (long !== undefined) option = command.options.find((o) => o.long === long);
  const offered = option?.required
    ? values(placeholder(option.flags), option.argChoices, value ?? typed)
    : typed.startsWith("-")
    ? choices(optionsOf(command, typed))
    : command === program
    ? choices(position === 0 ? commandsOf(program) : [])
    : argument();
  return {
    ...offered,
    words: offered.words.filter((word) => word.value.startsWith(value ?? typed)),
  };

  function argument(): Candidates {
    const argument = command.registeredArguments[position];
    if (argument === undefined) return choices([]);
    return values(argument.name(), argument.argChoices, typed);
  }

  function values(name: string, known: readonly string[] | undefined, typed: string): Candidates {
    if (known !== undefined) return choices(known.map((value) => ({ value, summary: "" })));
    return MODEL.test(name) ? models(typed, command.name()) : { words: [], files: FILE.test(name) };
  }
}

function choices(words: readonly Candidate[]): Candidates {
  return { words, files: false };
}

function commandsOf(program: Command): Candidate[] {
  return program.createHelp().visibleCommands(program)
    .map((command) => ({ value: command.name(), summary: command.summary() }));
}

/** Returns the long options, and also the short ones if only a dash was typed. */
function optionsOf(command: Command, typed: string): Candidate[] {
  return command.createHelp().visibleOptions(command).flatMap(({ long, short, description }) =>
    [long, typed === "-" ? short : undefined].flatMap((value) =>
      value ? [{ value, summary: description }] : []
    )
  );
}

/** Returns the placeholder of an option: `path` for `-f, --file <path>`. */
function placeholder(flags: string): string {
  return /<([^>]+)>/.exec(flags)?.[1] ?? "";
}
