/** A real terminal for a program, by tmux: what it shows, and keys for it. */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { baseEnv, LAUNCHER, ROOT, until, which } from "./run_tvllm.ts";

/** Why tests of the terminal are skipped; undefined where they can run. */
export const NO_TERMINAL = which("tmux") === undefined
  ? "tmux not found (Debian: apt-get install tmux)"
  : undefined;

/** One window of 80 by 40 with a shell script in it, on a tmux server of its own. */
export class PseudoTerminal implements AsyncDisposable {
  readonly #socket = join(Deno.makeTempDirSync(), "tmux");
  /** What has come since the program started, escape sequences and all. */
  readonly #log = `${this.#socket} log`;

  private constructor() {}

  /**
   * Starts a script for sh with `tvllm` in "$0", and keeps its last screen. Then `[exit N]` is
   * shown, and whether the terminal is left as it was.
   */
  static async open(
    script: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<PseudoTerminal> {
    const terminal = new PseudoTerminal();
    // Ctrl-C reaches this shell too, and is not meant for it.
    const frame = `trap : INT; before=$(stty -g); ${script}; echo "[exit $?]"
      [ "$(stty -g)" = "$before" ] || echo "[the terminal has changed]"
      echo "[done]"; exec sleep 1000`;
    Deno.writeTextFileSync(terminal.#log, "");
    // The gate opens when all of the output is logged.
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

  /** Presses a key by tmux's name of it, as `Enter`, `Up` or `C-c`. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux(["send-keys", ...keys]);
  }

  /** The lines on the screen, less empty ones at the end; long ones joined. */
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
    }, () => `Waited in vain for the line ${expected}, it is ${line}`);
  }

  /** The screen, when it shows `pattern`. */
  async shows(pattern: RegExp): Promise<string> {
    let screen = "";
    return await until(async () => {
      screen = await this.screen();
      return pattern.test(screen) ? screen : undefined;
    }, () => `Waited in vain for ${pattern} on the screen:\n${screen}`);
  }

  /**
   * What has been written, when that holds `pattern`: for what is shown for a moment, as a busy
   * machine may look at the screen too late. Each picture of progress is a line of its own.
   */
  async wrote(pattern: RegExp): Promise<string> {
    let written = "";
    return await until(() => {
      written = this.written().replaceAll("\r\x1b[K", "\n").replaceAll("\r\n", "\n");
      return pattern.test(written) ? written : undefined;
    }, () => `Waited in vain for ${pattern} in what was written:\n${written}`);
  }

  /** The screen when the script has ended. */
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

/** What differs from run to run made the same: times, rates and the processor's name. */
export function masked(screen: string): string {
  return screen
    .replaceAll(/\b[\d.]+ m?s\b/g, "N ms")
    .replaceAll(/[\d.,]+ tok\/s/g, "N tok/s")
    .replaceAll(/\S+ processor$/gm, "PROCESSOR");
}
