/** The chat that `tvllm generate` starts without a prompt on a terminal. */

import { DeviceError } from "../engine/errors.ts";
import { printAnswer, speed } from "./answers.ts";
import type { TextValues } from "./answer_text.ts";
import { COMMAND_NAMES, runCommand } from "./chat_commands.ts";
import { ChatSettings, type ChatValues } from "./chat_settings.ts";
import type { Row } from "./chat_table.ts";
import { Conversation } from "./conversation.ts";
import { EXIT, InterruptedError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { LineEditor, QuietKeys } from "./line_editor.ts";
import { toGenerateOptions } from "./options.ts";
import type { ReplySummary, Responder } from "./responder.ts";
import type { SavedChats } from "./saved_chats.ts";
import type { Terminal } from "./terminal.ts";
import { count, counted, milliseconds } from "./transfer.ts";

/**
 * If this fraction of the context is used, a note after each answer shows how much room is left.
 */
const NEARLY_FULL = 0.75;

/** The terminal of the chat, and the saved chats. */
interface Place {
  readonly terminal: Terminal;
  readonly saved: SavedChats;
}

/** Runs a chat until the user ends it. */
export async function chat(
  responder: Responder,
  values: ChatValues & TextValues,
  place: Place,
): Promise<void> {
  await new Chat(responder, values, place).run();
}

class Chat {
  readonly terminal: Terminal;
  readonly #saved: SavedChats;
  readonly #conversation: Conversation<Responder>;
  readonly #settings: ChatSettings;
  #last: ReplySummary | undefined;
  /** The conversation of which the last answer counted the tokens. It may have changed since. */
  #measured: Pick<Conversation, "turns" | "system"> | undefined;
  /** Number of tokens in all answers. */
  #tokens = 0;

  constructor(
    readonly responder: Responder,
    readonly values: ChatValues & TextValues,
    { terminal, saved }: Place,
  ) {
    this.terminal = terminal;
    this.#saved = saved;
    this.#conversation = new Conversation(responder, toGenerateOptions(values));
    this.#settings = new ChatSettings(values);
  }

  async run(): Promise<void> {
    const { responder, terminal } = this;
    const editor = new LineEditor("> ", COMMAND_NAMES);
    const what = this.#conversation.continues ? "continues your text" : "answers";
    terminal.note(`${responder.model} ${what}. /help lists commands, /bye ends.`);
    for (;;) {
      using interrupts = new Interrupts();
      const { signal } = interrupts;
      const text = await editor.read(signal);
      if (text === undefined) return terminal.write("\n");
      if (await this.#obey(text, signal) === "end") return;
      const { reason } = signal;
      if (reason instanceof InterruptedError && reason.exitCode !== EXIT.interrupted) throw reason;
    }
  }

  /** Runs a command or answers a message. Prints errors of the line without ending the chat. */
  async #obey(text: string, signal: AbortSignal): Promise<"end" | void> {
    const { terminal } = this;
    try {
      if (text.startsWith("/")) {
        return await runCommand({
          conversation: this.#conversation,
          settings: this.#settings,
          saved: this.#saved,
          model: this.responder.model,
          columns: terminal.columns,
          statistics: () => this.#statistics(),
          say: (text) => terminal.write(text),
          ask: (text) => this.#turn(text, signal),
        }, text);
      }
      if (text.trim() !== "" || this.#goesOn()) await this.#turn(text.trim(), signal);
    } catch (error) {
      // A lost device cannot be used again, so the chat ends.
      if (!(error instanceof Error) || error instanceof DeviceError) throw error;
      if (error instanceof Deno.errors.BrokenPipe) throw error;
      terminal.error(error);
    }
  }

  /** Whether Enter alone continues the text. */
  #goesOn(): boolean {
    return this.#conversation.continues && !this.#conversation.isEmpty;
  }

  async #turn(text: string, signal: AbortSignal): Promise<void> {
    const { terminal, values } = this;
    using _keys = new QuietKeys();
    // Draws a new seed for each turn unless --seed is given, so that a repeated question can get
    // another answer.
    const { system: _, ...options } = toGenerateOptions(this.#settings.values);
    const reply = this.#conversation.ask(text, { ...options, signal });
    const { wrap, thinking } = values;
    const summary = await printAnswer(reply, { wrap, thinking, terminal });
    this.#last = summary;
    this.#tokens += summary.tokens;
    this.#measured = undefined;
    if (summary.text !== "" || summary.finish !== "cancelled") {
      this.#conversation.answered(summary.text);
      const { turns, system } = this.#conversation;
      this.#measured = { turns, system };
    }
    this.#explainEnd(summary);
  }

  /** Prints a note if the answer was cut off, or if the context is nearly full. */
  #explainEnd({ promptTokens, tokens, finish }: ReplySummary): void {
    const { terminal, responder: { contextLength = Infinity } } = this;
    const used = (promptTokens ?? 0) + tokens;
    if (used >= contextLength) {
      return terminal.note(
        `The context of ${
          counted(contextLength, "token")
        } is full: /undo removes the last turn, /reset starts over.`,
        "dim",
      );
    }
    if (finish === "length") {
      terminal.note(
        `Stopped after ${counted(tokens, "token")}; /set max-tokens allows longer answers.` +
          (this.#conversation.continues ? " Press Enter to continue." : ""),
        "dim",
      );
    }
    if (used < NEARLY_FULL * contextLength) return;
    terminal.note(
      `The context has room for ${counted(contextLength - used, "more token")}. When it is full, ` +
        `answers stop: /undo and /reset make room.`,
      "dim",
    );
  }

  #statistics(): readonly Row[] {
    if (this.#last === undefined) return [];
    const { contextLength, place } = this.responder;
    const { tokens, promptTokens, timeToFirst, cached } = this.#last;
    const prompt = promptTokens ?? 0;
    const { turns, system } = this.#conversation;
    const isCurrent = turns === this.#measured?.turns && system === this.#measured.system;
    return Object.entries({
      "last answer": `${speed(this.#last)}, first token after ${milliseconds(timeToFirst)}`,
      ...(promptTokens !== null && {
        prefix: `${count(cached)} of ${counted(prompt, "prompt token")} reused`,
        // After /reset, /undo, /load or /system, the next answer counts the tokens again.
        ...(isCurrent && {
          context: contextLength === undefined
            ? `${counted(prompt + tokens, "token")} used`
            : `${count(prompt + tokens)} of ${count(contextLength)} tokens used`,
        }),
      }),
      "all answers": counted(this.#tokens, "token"),
      device: place,
    });
  }
}
