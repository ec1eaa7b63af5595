/**
 * The only way to the outside: the answer or report goes to stdout, everything else to stderr.
 * Colour and progress appear only where a person looks.
 */

import { styleText } from "node:util";
import { printable } from "../engine/files/quote.ts";
import { escapeControls } from "../engine/text/terminal_text.ts";
import { Progress } from "./progress.ts";

/** What the global options ask for. */
export interface TerminalOptions {
  readonly color?: "auto" | "always" | "never" | undefined;
  readonly quiet?: boolean | undefined;
  readonly verbose?: boolean | undefined;
}

/** The part of `Deno.stdout` and `Deno.stderr` that is used. */
export interface OutputStream {
  writeSync(bytes: Uint8Array): number;
  isTerminal(): boolean;
}

type Format = Parameters<typeof styleText>[0];

/** Characters of an error on the terminal. */
const MAX_ERROR = 400;

const encoder = new TextEncoder();

/** Standard output and error of one command. */
export class Terminal {
  readonly #options: TerminalOptions;
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  /** What is under way, the innermost last: that alone is shown. */
  #progress: readonly Progress[] = [];

  constructor(
    options: TerminalOptions,
    stdout: OutputStream = Deno.stdout,
    stderr: OutputStream = Deno.stderr,
  ) {
    this.#options = options;
    this.#stdout = stdout;
    this.#stderr = stderr;
  }

  get stdoutIsTerminal(): boolean {
    return this.#stdout.isTerminal();
  }

  /** It knows no escape sequences. */
  get isDumb(): boolean {
    return Deno.env.get("TERM") === "dumb";
  }

  /** Columns of the terminal; 80 without one. */
  get columns(): number {
    try {
      return Deno.consoleSize().columns;
    } catch {
      return 80;
    }
  }

  /**
   * Writes to stdout; control characters are removed for a terminal, wherever the text comes from.
   *
   * @throws {Deno.errors.BrokenPipe} if the reader has gone: let it pass, main() ends quietly.
   */
  write(text: string): void {
    this.draw(this.stdoutIsTerminal ? escapeControls(text) : text);
  }

  /** Writes to stdout as it is, for what moves the cursor or is coloured: its words are escaped already. */
  draw(text: string): void {
    this.#hideProgress();
    try {
      writeAll(this.#stdout, text);
    } catch (error) {
      if (!(error instanceof Error) || error instanceof Deno.errors.BrokenPipe) throw error;
      throw new Error(`Cannot write to standard output: ${error.message}`, { cause: error });
    }
  }

  /** One line on stderr that a person wants to know; not with -q. */
  note(line: string, format?: Format): void {
    if (this.#options.quiet) return;
    const safe = printable(line);
    this.#log(format === undefined ? safe : this.style(format, safe));
  }

  /** One line of details on stderr, only with -v. */
  detail(line: string): void {
    if (this.#options.verbose) this.#log(this.style("dim", printable(line)));
  }

  /** One line on stderr about what is not as it should be; also with -q. */
  warn(line: string): void {
    this.#log(`${this.style("yellow", "warning:")} ${printable(line)}`);
  }

  /** Reports what ended the command: one line, and the stack with -v. */
  error(error: Error): void {
    const message = error.message || error.name;
    const line = shortened(printable(message.replaceAll("\n", " ")));
    this.#log(`${this.style("red", "error:")} ${line}`);
    if (this.#options.verbose) this.#log(escapeControls(Deno.inspect(error)));
  }

  /** `text` in colour, where the stream that it is for has colours. */
  style(format: Format, text: string, stream: "stdout" | "stderr" = "stderr"): string {
    if (!this.#hasColor(stream === "stdout" ? this.#stdout : this.#stderr)) return text;
    return styleText(format, text, { validateStream: false });
  }

  /** Progress on `total` units, or on an unknown number of them; dispose of it when done. */
  progress(label: string, total?: number): Progress {
    const shown = this.#stderr.isTerminal() && !this.#options.quiet && !this.isDumb;
    const screen = {
      draw: (line: string) => {
        if (this.#progress.at(-1) === progress) writeAll(this.#stderr, line);
      },
      columns: this.columns,
      now: () => performance.now(),
    };
    const progress: Progress = new Progress({ label, total }, shown ? screen : undefined, () => {
      this.#progress = this.#progress.filter((one) => one !== progress);
    });
    this.#hideProgress();
    this.#progress = [...this.#progress, progress];
    return progress;
  }

  #hasColor(stream: OutputStream): boolean {
    const { color = "auto" } = this.#options;
    if (color !== "auto") return color === "always";
    // The order of node:tty: FORCE_COLOR outdoes NO_COLOR.
    const force = Deno.env.get("FORCE_COLOR");
    if (force !== undefined) return force !== "0";
    if (Deno.env.get("NO_COLOR")) return false;
    return stream.isTerminal() && !this.isDumb;
  }

  #hideProgress(): void {
    this.#progress.at(-1)?.hide();
  }

  #log(line: string): void {
    this.#hideProgress();
    try {
      writeAll(this.#stderr, `${line}\n`);
    } catch {
      // Nobody reads the log, or its disk is full: no reason to stop the answer.
    }
  }
}

/** Cuts the middle out: an error begins with what is wrong, and ends with how to mend it. */
function shortened(line: string): string {
  if (line.length <= MAX_ERROR) return line;
  const end = 120;
  return `${line.slice(0, MAX_ERROR - end - 3)} … ${line.slice(-end)}`;
}

function writeAll(stream: OutputStream, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
}

/**
 * Sends what libraries print to `terminal().detail()`: what they warn of are a file's words, such as
 * tokens, and nobody asked for them. Ends with the scope.
 */
export function silenceConsole(terminal: () => Terminal): Disposable {
  const before = { ...console };
  const print = (...data: unknown[]) => {
    terminal().detail(
      data.map((item) => typeof item === "string" ? item : Deno.inspect(item)).join(" "),
    );
  };
  for (const name of ["debug", "error", "info", "log", "warn"] as const) console[name] = print;
  return { [Symbol.dispose]: () => Object.assign(console, before) };
}
