/**
 * All output of a command: answers and reports go to stdout, everything else to stderr. Colour and
 * progress appear only on a terminal.
 */

import { styleText } from "node:util";
import { printable } from "../engine/files/quote.ts";
import { escapeControls } from "../engine/text/terminal_text.ts";
import { Progress } from "./progress.ts";

/** Values of the global options. */
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

/** Maximum length of an error message, in characters. */
const MAX_ERROR = 400;

const encoder = new TextEncoder();

/** Standard output and error of one command. */
export class Terminal {
  readonly #options: TerminalOptions;
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  /** Progress of the current work, innermost last. Only the last one is shown. */
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

  /** Whether the terminal supports no escape sequences. */
  get isDumb(): boolean {
    return Deno.env.get("TERM") === "dumb";
  }

  /** Number of columns of the terminal; 80 without one. */
  get columns(): number {
    try {
      return Deno.consoleSize().columns;
    } catch {
      return 80;
    }
  }

  /**
   * Writes to stdout. On a terminal, control characters are escaped, because the text may come from
   * an untrusted source.
   *
   * @throws {Deno.errors.BrokenPipe} if the reader has closed the pipe. Do not catch this: main()
   * then ends without an error.
   */
  write(text: string): void {
    this.draw(this.stdoutIsTerminal ? escapeControls(text) : text);
  }

  /**
   * Writes text with colours or cursor movements to stdout. Its other parts must already be
   * escaped.
   */
  draw(text: string): void {
    this.#hideProgress();
    try {
      writeAll(this.#stdout, text);
    } catch (error) {
      if (!(error instanceof Error) || error instanceof Deno.errors.BrokenPipe) throw error;
      throw new Error(`Cannot write to standard output: ${error.message}`, { cause: error });
    }
  }

  /** Prints a line of information to stderr; not with -q. */
  note(line: string, format?: Format): void {
    if (this.#options.quiet) return;
    const safe = printable(line);
    this.#log(format === undefined ? safe : this.style(format, safe));
  }

  /** Prints a line of details to stderr; only with -v. */
  detail(line: string): void {
    if (this.#options.verbose) this.#log(this.style("dim", printable(line)));
  }

  /** Prints a warning of one line to stderr; also with -q. */
  warn(line: string): void {
    this.#log(`${this.style("yellow", "warning:")} ${printable(line)}`);
  }

  /** Prints an error of one line to stderr, and its stack with -v. */
  error(error: Error): void {
    const message = error.message || error.name;
    const line = shortened(printable(message.replaceAll("\n", " ")));
    this.#log(`${this.style("red", "error:")} ${line}`);
    if (this.#options.verbose) this.#log(escapeControls(Deno.inspect(error)));
  }

  /** Returns `text` with this format if colour is enabled for the stream, else `text`. */
  style(format: Format, text: string, stream: "stdout" | "stderr" = "stderr"): string {
    if (!this.#hasColor(stream === "stdout" ? this.#stdout : this.#stderr)) return text;
    return styleText(format, text, { validateStream: false });
  }

  /**
   * Starts progress of `total` units, or of an unknown number. Dispose of it when the work is done.
   */
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
    // Precedence as in node:tty: FORCE_COLOR overrides NO_COLOR. An empty variable counts as unset.
    const force = Deno.env.get("FORCE_COLOR");
    if (force) return force !== "0";
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
      // stderr is closed, or its disk is full. The answer continues anyway.
    }
  }
}

/** Cuts out the middle of a long error: its beginning is the problem, its end is the solution. */
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
 * Redirects the console output of libraries to `terminal().detail()`, until the result is disposed
 * of. Their warnings quote parts of files, such as tokens, and are not meant for the user.
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
