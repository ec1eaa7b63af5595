/** Streams a request's tokens as they are generated. */

import type { TokenLogprobs } from "./logprobs.ts";
import type { FinishReason, Sequence } from "./sequence.ts";

/** One generated token. */
export interface Token {
  /** The token's number in the vocabulary. */
  readonly id: number;
  /** 0 for the first generated token. */
  readonly index: number;
  /** `performance.now()` when it was read from the device. */
  readonly time: number;
  /** Present if the request asked for log-probabilities. */
  readonly logprobs?: TokenLogprobs;
  /** Present on the last token, unless it was delivered before its request was cancelled. */
  readonly finish?: FinishReason;
}

/**
 * The tokens of one request, for one reader. Leaving the loop early cancels the request. A slow or
 * late reader misses no tokens. If the engine fails, reading throws its error.
 */
export class TokenStream implements AsyncIterableIterator<Token> {
  readonly #unread: Token[] = [];
  /** One function for each pending `next()`, which wakes it; there may be several at once. */
  readonly #wake: (() => void)[] = [];
  #ended = false;
  #error: unknown;

  /** @ignore The request's state. */
  readonly sequence: Sequence;
  /** Ends the request. The tokens generated before can still be read. */
  readonly cancel: () => void;

  /** @ignore Only `Engine.submit` creates streams. */
  constructor(sequence: Sequence, cancel: () => void) {
    this.sequence = sequence;
    this.cancel = cancel;
  }

  /** Whether the engine failed. Reading then throws its error after the tokens generated before. */
  get failed(): boolean {
    return this.#error !== undefined;
  }

  /** Why the request ended; undefined while it runs and if the engine failed. */
  get finish(): FinishReason | undefined {
    return this.failed ? undefined : this.sequence.finish;
  }

  /** `performance.now()` at submit, and when each token was read from the device. */
  get timings(): { readonly submitted: number; readonly tokens: readonly number[] } {
    return { submitted: this.sequence.submitted, tokens: this.sequence.times };
  }

  /** @ignore Adds the next token. */
  push(token: Token): void {
    this.#unread.push(token);
    this.#wake.shift()?.();
  }

  /** @ignore Ends the stream: no more tokens will come. */
  end(): void {
    this.#ended = true;
    const last = this.#unread.at(-1);
    const finish = this.sequence.finish;
    if (last && finish && !last.finish) this.#unread.splice(-1, 1, { ...last, finish });
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** @ignore Ends the stream because the engine failed. */
  fail(error: unknown): void {
    this.#error = error;
    this.end();
  }

  /**
   * Waits for the next token.
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

  /** Returns this stream. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}
