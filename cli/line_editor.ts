/** Reads messages from a terminal by node:readline: with history, and pasted lines as one message. */

import { EventEmitter } from "node:events";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { EXIT, InterruptedError } from "./exit_codes.ts";

/** Several characters that come at once, within this many ms, were pasted, not typed. */
const PASTE_GAP = 20;

/** Stands before the lines of a message after its first. */
const CONTINUED = "... ";

/** What a person types at a prompt. Between two reads the terminal is as it was. */
export class LineEditor {
  #history: string[] = [];
  /** Whole lines that came in with those of the last message. */
  #lines: string[] = [];

  /** `commands` are the words that begin with a slash: Tab completes them. */
  constructor(readonly prompt: string, readonly commands: readonly string[]) {}

  /**
   * The next message: lines that were pasted together are one, and a line that ends in a backslash goes
   * on in the next; but a command that was pasted is a line of its own.
   * Undefined at the end of input (Ctrl-D). Ctrl-C discards what was typed.
   *
   * @throws {InterruptedError} on Ctrl-C where nothing was typed, and when `signal` is aborted.
   */
  async read(signal: AbortSignal): Promise<string | undefined> {
    let text: string | undefined | null;
    do text = await this.#readOrDiscard(signal); while (text === null);
    return text;
  }

  /** Null: what was typed is discarded. */
  async #readOrDiscard(signal: AbortSignal): Promise<string | undefined | null> {
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined | null>();
    using keys = new Keys();
    const editor = createInterface({
      input: keys.input,
      output: process.stdout,
      terminal: true,
      prompt: this.prompt,
      history: this.#history,
      completer: (line: string) => [this.commands.filter((word) => word.startsWith(line)), line],
    });
    editor.on("history", (history: string[]) => {
      this.#history = history;
    });
    /** What continues on the next line. */
    let open = "";
    editor.on("line", (line) => {
      this.#lines.push(open + line);
      open = "";
    });
    editor.on("SIGINT", () => {
      process.stdout.write("^C\n");
      const typed = editor.line !== "" || open !== "" || this.#lines.length > 0;
      this.#lines = [];
      open = "";
      keys.input.pause();
      if (!typed) reject(new InterruptedError(EXIT.interrupted));
      else resolve(null);
    });
    // Else it would start a program to suspend this one, which tvllm may not.
    editor.on("SIGTSTP", () => {});
    editor.on("close", () => resolve(undefined));
    const take = () => {
      // The last line of a paste may still wait for its Enter.
      if (editor.line !== "" || open !== "" || this.#lines.length === 0) return;
      const last = this.#lines.at(-1)!;
      if (last.endsWith("\\")) {
        this.#lines.pop();
        open = `${last.slice(0, -1)}\n`;
        editor.setPrompt(CONTINUED);
        editor.prompt();
        return;
      }
      // What comes from now on is for the next read.
      keys.input.pause();
      const isCommand = this.#lines[0]!.startsWith("/");
      resolve(this.#lines.splice(0, isCommand ? 1 : this.#lines.length).join("\n"));
    };
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
    try {
      signal.throwIfAborted();
      editor.prompt();
      take();
      keys.listen(editor, take);
      return await promise;
    } finally {
      signal.removeEventListener("abort", stop);
      editor.close();
    }
  }
}

/**
 * Standard input for readline, which takes a key at a time and looks at the whole line each time:
 * pasted text goes to it in one piece, or a page of it would take minutes.
 */
class Keys implements Disposable {
  readonly input = Object.assign(new EventEmitter(), {
    isTTY: true,
    setRawMode: (raw: boolean) => process.stdin.setRawMode(raw),
    resume: () => process.stdin.resume(),
    pause: () => process.stdin.pause(),
  }) as unknown as NodeJS.ReadableStream;
  readonly #decoder = new TextDecoder();
  #pasted = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #onData: (bytes: Uint8Array) => void = () => {};
  readonly #onEnd = () => this.input.emit("end");

  /** Hands over what comes; `done` is called after each piece. */
  listen(editor: Interface, done: () => void): void {
    const paste = () => {
      // To write nothing would be a key, too: it ends the walk through the history.
      if (this.#pasted === "") return;
      // On a terminal that is dumb, readline takes lines alone.
      for (const [i, line] of this.#pasted.split("\n").entries()) {
        if (i > 0) editor.write(null, { name: "return" });
        editor.write(line);
      }
      this.#pasted = "";
      done();
    };
    this.#onData = (bytes) => {
      const text = this.#decoder.decode(bytes, { stream: true });
      clearTimeout(this.#timer);
      // Keys that are no characters, or one that is.
      if (/(?![\r\n\t])\p{Cc}/u.test(text) || (this.#pasted === "" && text.length < 2)) {
        paste();
        this.input.emit("data", text);
        done();
      } else {
        this.#pasted += text.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
        this.#timer = setTimeout(paste, PASTE_GAP);
      }
    };
    process.stdin.on("data", this.#onData);
    process.stdin.on("end", this.#onEnd);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    process.stdin.off("data", this.#onData);
    process.stdin.off("end", this.#onEnd);
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
