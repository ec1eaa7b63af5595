/** Runs a program on a real terminal with tmux, reads its screen, and sends it keys. */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { baseEnv, LAUNCHER, ROOT, until, which } from "./run_tvllm.ts";

/** The reason why tests of the terminal are skipped, or undefined if they can run. */
export const NO_TERMINAL = which("tmux") === undefined
  ? "tmux not found (Debian: apt-get install tmux)"
  : undefined;

/** A window of 80 columns and 40 rows that runs a shell script, on a tmux server of its own. */
export class PseudoTerminal implements AsyncDisposable {
  readonly #socket = join(Deno.makeTempDirSync(), "tmux");
  /** File with all output since the program started, including escape sequences. */
  readonly #log = `${this.#socket} log`;

  private constructor() {}

  /**
   * Starts an sh script in which "$0" is `tvllm`. When it ends, its last screen is kept, with
   * `[exit N]` below it, and with a message if it has left the terminal's settings changed.
   */
  static async open(
    script: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<PseudoTerminal> {
    const terminal = new PseudoTerminal();
    // Ctrl-C also reaches this shell, which must ignore it.
    const frame = `trap : INT; before=$(stty -g); ${script}; echo "[exit $?]"
      [ "$(stty -g)" = "$before" ] || echo "[the terminal has changed]"
      echo "[done]"; exec sleep 1000`;
    Deno.writeTextFileSync(terminal.#log, "");
    // The script waits here until its output is being logged.
    const gate = `tmux -S "$SOCKET" wait-for ready; ${frame}`;
    await terminal.#tmux(
      ["new-session", "-d", "-x", "80", "-y", "40", "-c", ROOT, "sh", "-c", gate, LAUNCHER],
      env,
    );
    await terminal.#tmux(["pipe-pane", `cat >>'${terminal.#log}'`]);
    await terminal.#tmux(["wait-for", "-S", "ready"]);
    return terminal;
  }

  /** Types text. */
  async type(text: string): Promise<void> {
    await this.#tmux(["send-keys", "-l", "--", text]);
  }

  /** Presses keys, by their names in tmux, such as `Enter`, `Up` or `C-c`. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux(["send-keys", ...keys]);
  }

  /** The lines on the screen, without empty ones at the end. Wrapped lines are joined. */
  async screen(): Promise<string> {
    return (await this.#tmux(["capture-pane", "-p", "-J"])).replaceAll(/ +$/gm, "").trimEnd();
  }

  /** Waits until the cursor's line is `expected`, in which `|` stands for the cursor. */
  async showsLine(expected: string): Promise<void> {
    let line = "";
    await until(async () => {
      const where = await this.#tmux(["display-message", "-p", "#{cursor_x} #{cursor_y}"]);
      const [x, y] = where.split(" ").map(Number) as [number, number];
      const text = (await this.#tmux(["capture-pane", "-p"])).split("\n")[y]!.padEnd(x);
      line = `${text.slice(0, x)}|${text.slice(x)}`.trimEnd();
      return line === expected || undefined;
    }, () => `Timed out waiting for the line ${expected}, it is ${line}`);
  }

  /** Waits until the screen matches `pattern`. Returns the screen. */
  async shows(pattern: RegExp): Promise<string> {
    let screen = "";
    return await until(async () => {
      screen = await this.screen();
      return pattern.test(screen) ? screen : undefined;
    }, () => `Timed out waiting for ${pattern} on the screen:\n${screen}`);
  }

  /**
   * Waits until the output matches `pattern`. Returns the output. It finds text that is shown only
   * for a moment, which `shows` could miss on a busy machine. Each state of a progress display is a
   * line of its own.
   */
  async wrote(pattern: RegExp): Promise<string> {
    let written = "";
    return await until(() => {
      written = this.written().replaceAll("\r\x1b[K", "\n").replaceAll("\r\n", "\n");
      return pattern.test(written) ? written : undefined;
    }, () => `Timed out waiting for ${pattern} in what was written:\n${written}`);
  }

  /** Waits until the script has ended. Returns the screen. */
  async ended(): Promise<string> {
    return (await this.shows(/^\[done\]$/m)).replace(/\n\[done\]$/, "");
  }

  /** All that was written to the terminal, with its escape sequences. */
  written(): string {
    return Deno.readTextFileSync(this.#log);
  }

  async #tmux(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const { success, stdout, stderr } = await new Deno.Command("tmux", {
      args: ["-S", this.#socket, "-f", "/dev/null", ...args],
      clearEnv: true,
      env: {
        ...baseEnv(),
        ...{ LC_ALL: "C.UTF-8", SOCKET: this.#socket, TVLLM_DATA: dirname(this.#socket) },
        ...env,
      },
    }).output();
    const decoder = new TextDecoder();
    assert.ok(success, `tmux ${args[0]}: ${decoder.decode(stderr)}`);
    return decoder.decode(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux(["kill-server"]);
  }
}

/** Matches two lines of an answer below a line that ends with `text`. Progress has one line. */
export function linesAfter(text: string): RegExp {
  return new RegExp(`${text}\n.+\n.`);
}

/** Replaces what differs from run to run: times, rates and the processor's name. */
export function masked(screen: string): string {
  return screen
    .replaceAll(/\b[\d.]+ m?s\b/g, "N ms")
    .replaceAll(/[\d.,]+ tok\/s/g, "N tok/s")
    .replaceAll(/\S+ processor$/gm, "PROCESSOR");
}
