/** What is shown of an answer of which nothing can be seen yet. */

import { MeteredProgress } from "./metered_progress.ts";
import type { Reply } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { counted, Rate, tokenRate } from "./transfer.ts";

/** Time between two looks at how far the prompt is, in ms. */
const INTERVAL = 100;

/**
 * How far the model is with reading the prompt, until it is disposed of: at the first token. A server
 * does not tell, and is waited for.
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

/** How many tokens an answer has of which nothing is printed yet. */
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
