/** What is shown of an answer of which nothing can be seen yet. */

import type { Answer } from "../engine/run/answer.ts";
import { MeteredProgress } from "./metered_progress.ts";
import type { Terminal } from "./terminal.ts";
import { counted, Rate, tokenRate } from "./transfer.ts";

/** Time between two looks at how far the prompt is, in ms. */
const INTERVAL = 100;

/** How far the model is with reading the prompt, until it is disposed of: at the first token. */
export class PromptProgress implements Disposable {
  readonly #progress: MeteredProgress;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(answer: Answer, terminal: Terminal) {
    const { promptIds: { length: total } } = answer;
    this.#progress = new MeteredProgress({ label: "Reading", total, unit: "token" }, terminal);
    const look = () => this.#progress.update(answer.promptTokensRead);
    this.#timer = setInterval(look, INTERVAL);
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
