/**
 * Handles Ctrl-C and SIGTERM: the first signal stops the command, a second one ends the process.
 */

import { EXIT, InterruptedError } from "./exit_codes.ts";

/**
 * Handles the signals while a command does work that can be stopped early:
 *
 *     using interrupts = new Interrupts();
 *     await work(interrupts.signal);   // stops early when the signal is aborted
 *     printStatistics();
 *     interrupts.signal.throwIfAborted();   // exit code 130 or 143
 *
 * Outside its scope, the signals end the process, as they do by default.
 */
export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #onInterrupt = () => this.#stop(EXIT.interrupted);
  readonly #onTerminate = () => this.#stop(EXIT.terminated);

  constructor() {
    Deno.addSignalListener("SIGINT", this.#onInterrupt);
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", this.#onTerminate);
  }

  /** Aborted by the first signal; its reason is an `InterruptedError`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #stop(exitCode: number): void {
    if (this.signal.aborted) Deno.exit(exitCode);
    this.#controller.abort(new InterruptedError(exitCode));
  }

  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#onInterrupt);
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGTERM", this.#onTerminate);
  }
}
