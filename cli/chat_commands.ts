/** The commands of a chat: lines that begin with a slash. */

import { printable } from "../engine/files/quote.ts";
import type { Row } from "./chat_table.ts";
import type { ChatSettings } from "./chat_settings.ts";
import type { Conversation } from "./conversation.ts";
import { UsageError } from "./exit_codes.ts";
import type { SavedChats } from "./saved_chats.ts";
import { nearest } from "./suggestion.ts";
import { counted } from "./transfer.ts";

/** The parts of a chat that its commands use. */
export interface CommandTarget {
  readonly conversation: Conversation;
  readonly settings: ChatSettings;
  readonly saved: SavedChats;
  /** The name of the model. */
  readonly model: string;
  /** Number of columns of the terminal. */
  readonly columns: number;
  /** Returns the statistics of the last answer and of all answers; empty if there is none. */
  statistics(): readonly Row[];
  /** Prints `text`. */
  say(text: string): void;
  /** Sends `text` to the model and prints the answer. */
  ask(text: string): Promise<void>;
}

interface ChatCommand {
  /** The command with its arguments, for the help. */
  readonly usage: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** Runs the command; the result "end" ends the chat. */
  readonly run: (chat: CommandTarget, argument: string) => "end" | void | Promise<void>;
}

const COMMANDS: readonly ChatCommand[] = [
  { usage: "/help", aliases: ["/?"], summary: "shows this help", run: help },
  {
    usage: "/bye",
    aliases: ["/exit", "/quit"],
    summary: "ends the chat, as /exit and /quit do",
    run: () => "end",
  },
  {
    usage: "/reset",
    aliases: ["/clear", "/new"],
    summary: "forgets the conversation",
    run({ conversation, say }) {
      conversation.reset();
      say("The conversation is forgotten.\n");
    },
  },
  {
    usage: "/undo",
    summary: "removes the last message and its answer",
    run({ conversation, say }) {
      const text = conversation.undo();
      say(text === undefined ? NOTHING : `Removed: ${excerpt(text)}\n`);
    },
  },
  {
    usage: "/retry",
    summary: "answers the last message again",
    async run({ conversation, say, ask }) {
      const { turns, system } = conversation;
      const text = conversation.undo();
      if (text === undefined) return say(NOTHING);
      try {
        await ask(text);
      } finally {
        // Without a new answer, the old one stays: the request failed, or was stopped at once.
        if (conversation.turns.length < turns.length) conversation.restore(turns, system);
      }
    },
  },
  {
    usage: "/system TEXT",
    summary: "sets the system message; without TEXT, removes it",
    run({ conversation, say }, text) {
      conversation.system = text || undefined;
      say(`The system message is ${text ? "set" : "removed"}.\n`);
    },
  },
  {
    usage: "/set NAME VALUE",
    summary: "changes a setting (/set temp 0.2); /set alone lists them",
    async run(chat, argument) {
      const { settings, say } = chat;
      if (argument === "") return await show(chat, settings.rows);
      const [, name = "", value = ""] = /^(\S*)\s*([^]*)$/.exec(argument)!;
      if (value === "") return await show(chat, [settings.row(name)]);
      settings.set(name, value);
      say(`Set ${name} to ${value}.\n`);
    },
  },
  {
    usage: "/save NAME",
    summary: "saves the conversation",
    run({ conversation, saved, model, say }, name) {
      if (name === "") throw new UsageError("Cannot save without a name: /save NAME");
      if (conversation.isEmpty) throw new UsageError("Cannot save: the conversation is empty");
      const { turns, system } = conversation;
      const chat = { name, saved: new Date().toISOString(), model, turns };
      const replaced = saved.save({ ...chat, ...(system !== undefined && { system }) });
      say(`Saved as ${name}${replaced ? ", replacing an earlier one" : ""}.\n`);
    },
  },
  {
    usage: "/load NAME",
    summary: "continues a saved conversation; without NAME, lists them",
    async run(chat, name) {
      const { conversation, saved, say } = chat;
      if (name === "") return await list(chat);
      const { turns, system, model } = saved.load(name);
      conversation.restore(turns, system);
      say(
        `Loaded ${counted(turns.length, "turn")} with ${model}. ` +
          `The last answer: ${excerpt(turns.at(-1)!.answer)}\n`,
      );
    },
  },
  {
    usage: "/stats",
    summary: "shows the last answer's speed and how full the context is",
    async run(chat) {
      const statistics = chat.statistics();
      if (statistics.length === 0) chat.say("There is no answer yet.\n");
      else await show(chat, statistics);
    },
  },
];

const KEYS = {
  "Up, Down": "earlier messages",
  "\\ Enter": "continues on a new line; pasted lines form one message",
  "Ctrl-C": "stops the answer; clears the line; when empty, ends the chat",
  "Ctrl-D": "ends the chat",
} as const;

const NOTHING = "There is no message to remove.\n";

/** The names of all commands, for completion. */
export const COMMAND_NAMES: readonly string[] = COMMANDS.flatMap(namesOf);

/**
 * Runs the command at the beginning of `line`; the result "end" ends the chat.
 *
 * @throws {UsageError} if there is no such command, or its argument is invalid.
 */
export async function runCommand(chat: CommandTarget, line: string): Promise<"end" | void> {
  const [, name, argument] = /^(\S+)\s*([^]*)$/.exec(line)!;
  const command = COMMANDS.find((command) => namesOf(command).includes(name!));
  if (command !== undefined) {
    if (argument!.trim() !== "" && !command.usage.includes(" ")) {
      throw new UsageError(
        `Cannot run ${name} with an argument: it takes none (a leading space sends it as text)`,
      );
    }
    return await command.run(chat, argument!.trim());
  }
  const near = nearest(name!, COMMAND_NAMES);
  throw new UsageError(
    `Cannot run ${printable(name!)}: ` +
      (near === undefined ? "/help lists the commands" : `did you mean ${near}?`) +
      " (a leading space sends it as text)",
  );
}

function namesOf({ usage, aliases = [] }: ChatCommand): string[] {
  return [usage.split(" ")[0]!, ...aliases];
}

async function help(chat: CommandTarget): Promise<void> {
  const commands = COMMANDS.map(({ usage, summary }): Row => [usage, summary]);
  await show(chat, [...commands, ...Object.entries(KEYS)]);
}

async function list(chat: CommandTarget): Promise<void> {
  const chats = chat.saved.list();
  if (chats.length === 0) {
    return chat.say("Nothing is saved yet: /save NAME saves the conversation.\n");
  }
  await show(
    chat,
    chats.map(({ name, saved, turns, model }): Row => [
      name,
      `${saved.slice(0, 10)}, ${counted(turns.length, "turn")} with ${model}`,
    ]),
  );
}

/** Prints a table. Its module is imported here because it takes some time to load. */
async function show({ say, columns }: CommandTarget, rows: readonly Row[]): Promise<void> {
  const { table } = await import("./chat_table.ts");
  // The last column stays free: after it, some terminals begin a new line.
  say(table(rows, columns - 1));
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line === "" ? "the last piece of text" : line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
