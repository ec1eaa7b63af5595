/** Reads messages from a terminal by node:readline: with history, and pasted lines as one message. */

import process from "node:process";
import { createInterface } from "node:readline";
import { EXIT, InterruptedError } from "./exit_codes.ts";

/** Lines that follow one another within this many ms were pasted, not typed. */
const PASTE_GAP = 20;

/** What a person types at a prompt. Between two reads the terminal is as it was. */
export class LineEditor {
  #history: string[] = [];
  /** Whole lines that came in with those of the last message. */
  #lines: string[] = [];

  /** `commands` are the words that begin with a slash: Tab completes them. */
  constructor(readonly prompt: string, readonly commands: readonly string[]) {}

  /**
   * The next message: lines that were pasted together are one, but a command is a line of its own.
   * Undefined at the end of input (Ctrl-D). Ctrl-C discards what was typed.
   *
   * @throws {InterruptedError} on Ctrl-C where nothing was typed, and when `signal` is aborted.
   */
  async read(signal: AbortSignal): Promise<string | undefined> {
    const editor = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: true,
      prompt: this.prompt,
      history: this.#history,
      completer: (line: string) => [this.commands.filter((word) => word.startsWith(line)), line],
    });
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const stop = () => reject(signal.reason);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const take = () => {
      // The last line of a paste may still wait for its Enter.
      if (editor.line !== "" || this.#lines.length === 0) return;
      const isCommand = this.#lines[0]!.startsWith("/");
      resolve(this.#lines.splice(0, isCommand ? 1 : this.#lines.length).join("\n"));
    };
    editor.on("line", (line) => {
      this.#lines.push(line);
      clearTimeout(timer);
      timer = setTimeout(take, PASTE_GAP);
    });
    editor.on("history", (history: string[]) => {
      this.#history = history;
    });
    editor.on("SIGINT", () => {
      process.stdout.write("^C\n");
      if (this.#lines.length === 0 && editor.line === "") {
        return reject(new InterruptedError(EXIT.interrupted));
      }
      this.#lines = [];
      editor.write(null, { ctrl: true, name: "e" });
      editor.write(null, { ctrl: true, name: "u" });
    });
    // Else it would start a program to suspend this one, which tvllm may not.
    editor.on("SIGTSTP", () => {});
    editor.on("close", () => resolve(undefined));
    signal.addEventListener("abort", stop);
    try {
      signal.throwIfAborted();
      editor.prompt();
      take();
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      editor.close();
    }
  }
}

/** While it lives, what is typed is not shown but kept for the next read; Ctrl-C is a signal. */
export class QuietKeys implements Disposable {
  constructor() {
    // Windows has no such mode.
    if (Deno.build.os !== "windows") Deno.stdin.setRaw(true, { cbreak: true });
  }

  [Symbol.dispose](): void {
    if (Deno.build.os !== "windows") Deno.stdin.setRaw(false);
  }
}
