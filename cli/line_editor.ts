/**
 * Reads messages from a terminal with node:readline, with a history. Pasted lines form one message.
 */

import { EventEmitter } from "node:events";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { EXIT, InterruptedError } from "./exit_codes.ts";

/** Characters that arrive together, with gaps of at most this many ms, were pasted, not typed. */
const PASTE_GAP = 20;

/** The prompt before every line of a message except the first. */
const CONTINUED = "... ";

/** Reads what a person types at a prompt. Between two reads, the terminal is in its normal mode. */
export class LineEditor {
  #history: string[] = [];
  /** Complete lines that were entered but not yet returned. */
  #lines: string[] = [];

  /** @param commands words that begin with a slash; Tab completes them */
  constructor(readonly prompt: string, readonly commands: readonly string[]) {}

  /**
   * Reads the next message. Lines that were pasted together form one message, and a line that ends
   * with a backslash continues on the next. A command always ends with its line, even if more lines
   * were pasted. Ctrl-C discards what was typed.
   *
   * @returns the message; undefined at the end of input (Ctrl-D)
   * @throws {InterruptedError} on Ctrl-C if nothing was typed, and when `signal` is aborted.
   */
  async read(signal: AbortSignal): Promise<string | undefined> {
    let text: string | undefined | null;
    do text = await this.#readOrDiscard(signal); while (text === null);
    return text;
  }

  /** Like `read`, but returns null when Ctrl-C discards what was typed. */
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
    /** The lines so far of a message that continues on the next line. */
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
    // By default readline suspends the process on Ctrl-Z, for which tvllm has no permission.
    editor.on("SIGTSTP", () => {});
    editor.on("close", () => resolve(undefined));
    const take = () => {
      // The last line of a paste may not have been completed with Enter yet.
      if (editor.line !== "" || open !== "" || this.#lines.length === 0) return;
      const last = this.#lines.at(-1)!;
      if (last.endsWith("\\")) {
        this.#lines.pop();
        open = `${last.slice(0, -1)}\n`;
        editor.setPrompt(CONTINUED);
        editor.prompt();
        return;
      }
      // Further input is for the next read.
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
 * Standard input for readline. readline processes the whole line again for every key, so a pasted
 * page would take minutes key by key. This class passes pasted text on in one piece.
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

  /** Passes all input to `editor`. Calls `done` after each piece. */
  listen(editor: Interface, done: () => void): void {
    const paste = () => {
      // Writing an empty text would count as a key and reset the position in the history.
      if (this.#pasted === "") return;
      // On a dumb terminal, readline accepts a line break only as a key.
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
      // Control keys, or a single typed character: pass them on at once.
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

/**
 * Until it is disposed of, typed text is not echoed but stays in the input for the next read, and
 * Ctrl-C raises a signal.
 */
export class QuietKeys implements Disposable {
  constructor() {
    // Windows does not support this mode.
    if (Deno.build.os !== "windows") Deno.stdin.setRaw(true, { cbreak: true });
  }

  [Symbol.dispose](): void {
    if (Deno.build.os !== "windows") Deno.stdin.setRaw(false);
  }
}
