/** `tvllm generate` without a prompt, on a terminal: a chat. */

import type { Model } from "../engine/mod.ts";
import type { AnswerSummary } from "../engine/run/answer.ts";
import { DeviceError } from "../engine/errors.ts";
import { decodeRate, printAnswer } from "./answers.ts";
import { Conversation } from "./conversation.ts";
import { EXIT, InterruptedError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { LineEditor, QuietKeys } from "./line_editor.ts";
import { type PromptValues, type SamplingValues, toGenerateOptions } from "./options.ts";
import type { Terminal } from "./terminal.ts";

const COMMANDS = {
  "/help": "shows this",
  "/reset": "forgets the conversation",
  "/system TEXT": "sets the system message; without TEXT, removes it",
  "/stats": "tokens and speed of the last answer, and how full the context is",
} as const;

const KEYS = {
  "Up, Down": "earlier messages",
  "Ctrl-C": "stops the answer; clears the line; ends the chat on an empty line",
  "Ctrl-D": "ends the chat",
} as const;

/** Chats until the user ends it. */
export async function chat(
  model: Model,
  values: PromptValues & SamplingValues,
  terminal: Terminal,
): Promise<void> {
  await new Chat(model, values, terminal).run();
}

class Chat {
  readonly #conversation: Conversation;
  #last: { readonly summary: AnswerSummary; readonly reused: number } | undefined;

  constructor(
    readonly model: Model,
    readonly values: PromptValues & SamplingValues,
    readonly terminal: Terminal,
  ) {
    this.#conversation = new Conversation(model, toGenerateOptions(values));
  }

  async run(): Promise<void> {
    const { model, terminal } = this;
    const names = Object.keys(COMMANDS).map((usage) => usage.split(" ")[0]!);
    const editor = new LineEditor("> ", names);
    const what = this.#conversation.continues ? "writes on from your text" : "answers";
    terminal.note(`${model.config.name} ${what}. /help lists commands, Ctrl-D ends.`);
    for (;;) {
      using interrupts = new Interrupts();
      const { signal } = interrupts;
      const text = await editor.read(signal);
      if (text === undefined) return terminal.write("\n");
      if (text.startsWith("/")) this.#command(text);
      else if (text.trim() !== "" || this.#goesOn()) await this.#turn(text.trim(), signal);
    }
  }

  /** Whether Enter alone asks for more. */
  #goesOn(): boolean {
    return this.#conversation.continues && !this.#conversation.isEmpty;
  }

  async #turn(text: string, signal: AbortSignal): Promise<void> {
    const { terminal, model } = this;
    const before = model.engine.stats.prefix.tokensSaved;
    try {
      using _keys = new QuietKeys();
      // Without --seed, asking the same again should not give the same again.
      const { seed } = toGenerateOptions(this.values);
      const answer = this.#conversation.ask(text, { seed: seed!, signal });
      const summary = await printAnswer(answer, {}, terminal);
      const reused = model.engine.stats.prefix.tokensSaved - before;
      this.#last = { summary, reused };
      if (summary.text !== "" || summary.finish !== "cancelled") {
        this.#conversation.answered(summary.text);
      }
      if (summary.finish === "length") this.#explainEnd(summary);
    } catch (error) {
      // A lost device does not come back.
      if (!(error instanceof Error) || error instanceof DeviceError) throw error;
      if (error instanceof Deno.errors.BrokenPipe) throw error;
      terminal.error(error);
    }
    const { reason } = signal;
    if (reason instanceof InterruptedError && reason.exitCode !== EXIT.interrupted) throw reason;
  }

  #explainEnd({ promptTokens, ids }: AnswerSummary): void {
    const { contextLength } = this.model;
    this.terminal.note(
      promptTokens + ids.length >= contextLength
        ? `The context of ${contextLength} tokens is full: /reset starts anew.`
        : `Stopped after ${ids.length} tokens; -n allows longer answers.` +
          (this.#conversation.continues ? " Enter alone goes on." : ""),
      "dim",
    );
  }

  #command(line: string): void {
    const { terminal } = this;
    const [, name, argument] = /^(\S+)\s*([^]*)$/.exec(line)!;
    const text = argument!.trim();
    switch (name) {
      case "/help":
        return terminal.write(table(COMMANDS) + table(KEYS));
      case "/reset":
        this.#conversation.reset();
        return terminal.write("The conversation is forgotten.\n");
      case "/system":
        this.#conversation.system = text || undefined;
        return terminal.write(`The system message is ${text ? "set" : "removed"}.\n`);
      case "/stats":
        return terminal.write(this.#statistics());
      default:
        return terminal.write(
          `There is no command ${name}: /help lists them. A space before it makes it text.\n`,
        );
    }
  }

  #statistics(): string {
    if (this.#last === undefined) return "Nothing was answered yet.\n";
    const { model } = this;
    const { summary, reused } = this.#last;
    const { ids, promptTokens, timeToFirst } = summary;
    const rate = decodeRate(summary);
    const { generatedTokens } = model.engine.stats;
    return table({
      "last answer": `${ids.length} tokens, first after ${timeToFirst.toFixed(0)} ms` +
        (rate === null ? "" : `, ${rate.toFixed(1)} tok/s`),
      prefix: `${reused} of ${promptTokens} prompt tokens reused`,
      context: `${promptTokens + ids.length} of ${model.contextLength} tokens used`,
      "all answers": `${generatedTokens} tokens`,
      device: model.device.description,
    });
  }
}

function table(rows: Readonly<Record<string, string>>): string {
  return Object.entries(rows).map(([name, value]) => `  ${name.padEnd(14)}${value}\n`).join("");
}
