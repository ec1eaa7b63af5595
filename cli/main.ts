/** The entry point: builds the command tree, runs the command and reports its errors. */

import { Command, CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import denoJson from "../deno.json" with { type: "json" };
import { useBackend } from "./backend.ts";
import { CasesFailedError, EXIT, exitCodeOf, InterruptedError } from "./exit_codes.ts";
import { argumentDescription, optionDescription } from "./help_format.ts";
import { type Launch, takeLaunch } from "./host.ts";
import { addGlobalOptions } from "./options.ts";
import { dropPermissions } from "./permissions.ts";
import { silenceConsole, Terminal } from "./terminal.ts";

const SHORT_HELP = `\
tvllm ${denoJson.version} runs language models on this machine's GPU or CPU and measures them.

  tvllm generate "Once upon a time"    continues this text
  tvllm generate -m model.gguf         starts a chat with your model
  tvllm devices                        shows this machine's GPU and CPU

tvllm --help lists all commands.
`;

/** The launcher's facts (empty without a launcher), and the user's arguments. */
interface Started {
  readonly launch: Launch;
  readonly args: readonly string[];
}

type AddCommand = (program: Command, started: Started) => void;

/**
 * A command's file is imported only when it is needed, because importing all of them takes 0.1 s.
 */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  generate: async () => (await import("./generate.ts")).addGenerate,
  serve: async () => (await import("./serve.ts")).addServe,
  perplexity: async () => (await import("./perplexity.ts")).addPerplexity,
  tokenize: async () => (await import("./tokenize.ts")).addTokenize,
  inspect: async () => (await import("./inspect.ts")).addInspect,
  devices: async () => (await import("./devices.ts")).addDevices,
  tune: async () => (await import("./tune.ts")).addTune,
  bench: async () => (await import("./bench.ts")).addBench,
  compare: async () => (await import("./compare.ts")).addCompare,
  synth: async () => (await import("./synth.ts")).addSynth,
  pull: async () => (await import("./pull.ts")).addPull,
  list: async () => (await import("./list.ts")).addList,
  rm: async () => (await import("./rm.ts")).addRm,
  // These two must be last, because they list the commands before them.
  help: async () => (await import("./help.ts")).addHelp,
  completions: async () => (await import("./completions.ts")).addCompletions,
};

/**
 * Returns the names of the commands to add: the one with which the arguments begin, if it does not
 * depend on other commands; else all.
 */
function commandsFor([first = ""]: readonly string[]): readonly string[] {
  const names = Object.keys(COMMANDS);
  const isAlone = names.includes(first) && first !== "help" && first !== "completions";
  return isAlone ? [first] : names;
}

/** Creates the command tree, or only the branch that the arguments select. Runs nothing yet. */
async function createProgram(started: Started): Promise<Command> {
  const program = new Command("tvllm")
    .description(
      "Runs language models on this machine's GPU or CPU and measures their speed and memory use.",
    )
    .version(
      `tvllm ${denoJson.version} (Deno ${Deno.version.deno}, V8 ${Deno.version.v8})`,
      "-V, --version",
      "print the versions of tvllm, Deno and V8",
    )
    .exitOverride()
    .showSuggestionAfterError(false) // usageError() makes better suggestions.
    // Otherwise a prompt that starts like a global option would be parsed as one.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => new Terminal({}).write(text),
      writeErr: () => {}, // main() reports errors.
      getOutHelpWidth: () => new Terminal({}).columns,
    });
  program.configureHelp({ argumentDescription, optionDescription });
  addGlobalOptions(program);
  const root: Command = program;
  for (const name of commandsFor(started.args)) (await COMMANDS[name]!())(root, started);
  return root;
}

/**
 * Runs the command and returns the exit code. A launcher may have put its facts before the
 * arguments.
 */
export async function main(given: readonly string[]): Promise<number> {
  const started = takeLaunch(given);
  const { args } = started;
  const program = await createProgram(started);
  let active: CommandUnknownOpts = program;
  using _console = silenceConsole(() => new Terminal(active.optsWithGlobals()));
  program.hook("preAction", (_, command) => {
    active = command;
    useBackend(command.opts()["backend"]);
    const given = command.options.filter((option) =>
      command.getOptionValueSource(option.attributeName()) === "cli"
    );
    const names = given.flatMap(({ long }) => long ?? []);
    dropPermissions(topCommand(command, program), modelsOf(command), names);
  });
  try {
    await run(program, args);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok; // help, version
    const known = error instanceof CommanderError
      ? (await import("./usage_error.ts")).usageError(error, program, args)
      : error;
    const exitCode = exitCodeOf(known);
    if (exitCode !== EXIT.ok && !(known instanceof InterruptedError)) {
      const terminal = new Terminal(active.optsWithGlobals());
      terminal.error(known instanceof Error ? known : new Error(String(known)));
      if (exitCode === EXIT.unknown && !(known instanceof CasesFailedError)) {
        terminal.note("Use -v to see where this happened.");
      }
    }
    return exitCode;
  }
}

/**
 * Returns the values of the command line that are models or endpoints. A prompt is not among them,
 * even if it begins with hf:.
 */
function modelsOf(command: CommandUnknownOpts): readonly unknown[] {
  const named = command.args.filter((_, i) => command.registeredArguments[i]?.name() === "model");
  const { model, endpoint } = command.opts();
  // The options of the sides of bench ab follow a --, so commander parses them as arguments.
  const sides = command.registeredArguments.some((argument) => argument.name() === "sides")
    ? command.args.map((arg) => arg.replace(/^(?:-m|--model=)(?=.)/, ""))
    : [];
  return [...named, ...sides, model, endpoint].flat();
}

/** Returns the name in permissions.txt: for a subcommand, that of its top-level command. */
function topCommand(command: CommandUnknownOpts, program: CommandUnknownOpts): string {
  const { parent } = command;
  return parent === null || parent === program ? command.name() : topCommand(parent, program);
}

async function run(program: Command, args: readonly string[]): Promise<void> {
  // An empty variable counts as unset, but commander would use it as a value.
  if (Deno.env.get("TVLLM_MODEL") === "") Deno.env.delete("TVLLM_MODEL");
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    const noCommand = error instanceof CommanderError && error.code === "commander.help" &&
      error.exitCode !== 0;
    if (!noCommand) throw error;
    new Terminal({}).write(SHORT_HELP);
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
