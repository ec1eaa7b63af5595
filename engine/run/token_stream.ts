/** What a request gives back: its tokens, as they come. */

import type { TokenLogprobs } from "./logprobs.ts";
import type { FinishReason, Sequence } from "./sequence.ts";

/** One generated token. */
export interface Token {
  /** Its number in the vocabulary. */
  readonly id: number;
  /** 0 for the first generated token. */
  readonly index: number;
  /** `performance.now()` when it was read from the device. */
  readonly time: number;
  /** Present if the request asked. */
  readonly logprobs?: TokenLogprobs;
  /** Present on the last token. A cancelled request's last token may have been delivered before. */
  readonly finish?: FinishReason;
}

/**
 * The tokens of one request, for one reader. Leaving the loop early cancels the request; a reader
 * that is slow or late misses nothing. If the engine fails, reading throws its error.
 */
export class TokenStream implements AsyncIterableIterator<Token> {
  readonly #unread: Token[] = [];
  /** Wakes each reader that waits; there may be several `next()` at once. */
  readonly #wake: (() => void)[] = [];
  #ended = false;
  #error: unknown;

  /** @ignore The request's state. */
  readonly sequence: Sequence;
  /** Ends the request; what was generated can be read still. */
  readonly cancel: () => void;

  /** @ignore `Engine.submit` makes them. */
  constructor(sequence: Sequence, cancel: () => void) {
    this.sequence = sequence;
    this.cancel = cancel;
  }

  /** The engine failed: reading throws its error once all tokens before are read. */
  get failed(): boolean {
    return this.#error !== undefined;
  }

  /** Why it ended; undefined while it runs and if it failed. */
  get finish(): FinishReason | undefined {
    return this.failed ? undefined : this.sequence.finish;
  }

  /** `performance.now()` at submit, and when each token was read from the device. */
  get timings(): { readonly submitted: number; readonly tokens: readonly number[] } {
    return { submitted: this.sequence.submitted, tokens: this.sequence.times };
  }

  /** @ignore The next token. */
  push(token: Token): void {
    this.#unread.push(token);
    this.#wake.shift()?.();
  }

  /** @ignore No more tokens will come. */
  end(): void {
    this.#ended = true;
    const last = this.#unread.at(-1);
    const finish = this.sequence.finish;
    if (last && finish && !last.finish) this.#unread.splice(-1, 1, { ...last, finish });
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** @ignore No more tokens will come: the engine failed. */
  fail(error: unknown): void {
    this.#error = error;
    this.end();
  }

  /**
   * The next token.
   *
   * @throws the engine's error if it fails.
   */
  async next(): Promise<IteratorResult<Token>> {
    while (true) {
      const token = this.#unread.shift();
      if (token) return { done: false, value: token };
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** Cancels the request, as leaving a loop early does. */
  return(): Promise<IteratorResult<Token>> {
    this.cancel();
    this.#unread.length = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
