/** The commands of a chat: lines that begin with a slash. */

import { printable } from "../engine/files/quote.ts";
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
  /** Returns the statistics of the last answer and of all answers, as text. */
  statistics(): string;
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
  { usage: "/help", aliases: ["/?"], summary: "shows this help", run: (chat) => chat.say(help()) },
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
    summary: "changes a setting (/set temp 0.2); without NAME, lists them",
    run({ settings, say }, argument) {
      const [, name = "", value = ""] = /^(\S*)\s*([^]*)$/.exec(argument)!;
      if (value === "") return say(rows(settings.table));
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
    run({ conversation, saved, say }, name) {
      if (name === "") return say(listOf(saved));
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
    run: ({ say, statistics }) => say(statistics()),
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
  if (command !== undefined) return await command.run(chat, argument!.trim());
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

function help(): string {
  return rows(Object.fromEntries(COMMANDS.map(({ usage, summary }) => [usage, summary]))) +
    rows(KEYS);
}

/** Returns a table of two columns: one line for each name and its value. */
export function rows(table: Readonly<Record<string, string>>): string {
  return Object.entries(table).map(([name, value]) => `  ${name.padEnd(16)}${value}\n`).join("");
}

function listOf(saved: SavedChats): string {
  const chats = saved.list();
  if (chats.length === 0) return "Nothing is saved yet: /save NAME saves the conversation.\n";
  return rows(Object.fromEntries(chats.map((chat) => [
    chat.name,
    `${chat.saved.slice(0, 10)}, ${counted(chat.turns.length, "turn")} with ${chat.model}`,
  ])));
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line === "" ? "the last piece of text" : line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
