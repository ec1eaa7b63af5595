/** The command tree, and what an error makes of the exit code. */

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

/** How the program was started: by a launcher that looked about, or not. */
interface Started {
  readonly launch: Launch;
  readonly args: readonly string[];
}

type AddCommand = (program: Command, started: Started) => void;

/** Each command's file is imported when its command is needed: all of them take 0.1 s. */
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
  // Last: these two list the commands that are there.
  help: async () => (await import("./help.ts")).addHelp,
  completions: async () => (await import("./completions.ts")).addCompletions,
};

/** The command that `args` begin with, if it needs no other command; else all. */
function commandsFor([first = ""]: readonly string[]): readonly string[] {
  const names = Object.keys(COMMANDS);
  const isAlone = names.includes(first) && first !== "help" && first !== "completions";
  return isAlone ? [first] : names;
}

/** The command tree, or its branch that `started.args` name; nothing runs yet. */
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
    .showSuggestionAfterError(false) // usageError() knows more
    // Else a prompt that starts like a global option would be taken for one.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => new Terminal({}).write(text),
      writeErr: () => {}, // main() reports errors, once
      getOutHelpWidth: () => new Terminal({}).columns,
    });
  program.configureHelp({ argumentDescription, optionDescription });
  addGlobalOptions(program);
  const root: Command = program;
  for (const name of commandsFor(started.args)) (await COMMANDS[name]!())(root, started);
  return root;
}

/** Runs `tvllm args…`, before which a launcher may say what it knows, and returns the exit code. */
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

/** What the command line names as models and endpoints: a prompt that begins with hf: is none. */
function modelsOf(command: CommandUnknownOpts): readonly unknown[] {
  const named = command.args.filter((_, i) => command.registeredArguments[i]?.name() === "model");
  const { model, endpoint } = command.opts();
  // Options of the sides of bench ab stand behind a --, as arguments.
  const sides = command.registeredArguments.some((argument) => argument.name() === "sides")
    ? command.args.map((arg) => arg.replace(/^(?:-m|--model=)(?=.)/, ""))
    : [];
  return [...named, ...sides, model, endpoint].flat();
}

/** The name that permissions.txt has of a command, which may be below another. */
function topCommand(command: CommandUnknownOpts, program: CommandUnknownOpts): string {
  const { parent } = command;
  return parent === null || parent === program ? command.name() : topCommand(parent, program);
}

async function run(program: Command, args: readonly string[]): Promise<void> {
  // A variable that is empty is not set; commander takes it for a value.
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
