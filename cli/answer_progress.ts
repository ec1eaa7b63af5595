/** Progress of an answer before its text appears. */

import { MeteredProgress } from "./metered_progress.ts";
import type { Reply } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { counted, Rate, tokenRate } from "./transfer.ts";

/** Interval at which the number of prompt tokens read is polled, in ms. */
const INTERVAL = 100;

/**
 * Shows how much of the prompt the model has read. Dispose of it at the first token. A server does
 * not report this, so a spinner is shown instead.
 */
export class PromptProgress implements Disposable {
  readonly #progress: Disposable;
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  constructor({ prompt }: Reply, terminal: Terminal) {
    if (prompt === undefined) {
      this.#progress = terminal.progress("Waiting for the server");
      return;
    }
    const { total } = prompt;
    const progress = new MeteredProgress({ label: "Reading", total, unit: "token" }, terminal);
    this.#progress = progress;
    this.#timer = setInterval(() => progress.update(prompt.read()), INTERVAL);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#progress[Symbol.dispose]();
  }
}

/** Shows how many tokens have been generated while none of their text is printed. */
export class TokenProgress implements Disposable {
  readonly #progress: ReturnType<Terminal["progress"]>;
  readonly #rate = new Rate();

  constructor(terminal: Terminal, label: string) {
    this.#progress = terminal.progress(label);
  }

  update(tokens: number): void {
    const rate = this.#rate.add(tokens, performance.now());
    this.#progress.update(
      tokens,
      counted(tokens, "token") + (rate === undefined ? "" : `, ${tokenRate(rate)}`),
    );
  }

  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}
