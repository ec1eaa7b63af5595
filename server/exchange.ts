/** One request and its response, from the first byte to the last. */

import type { Answer } from "../engine/run/answer.ts";
import { phasesOf, usageOf } from "./usage.ts";
import { plural } from "../engine/plural.ts";

/** The record of a finished request. */
export interface ExchangeRecord {
  readonly method: string;
  readonly path: string;
  /** The HTTP status; 499 if the client disconnected. */
  readonly status: number;
  readonly milliseconds: number;
  readonly answers: readonly Answer[];
  readonly error: Error | undefined;
}

/** The state of a request and its response. Whichever side ends first closes it, once. */
export class Exchange {
  readonly id: string;
  readonly started = new Date();
  readonly #begun = performance.now();
  readonly #controller = new AbortController();
  readonly #closed: (record: ExchangeRecord) => void;
  readonly #request: { readonly method: string; readonly path: string };
  #answers: readonly Answer[] = [];
  #streams = false;
  #gone = false;
  #open = true;

  /** @param closed called with the record when the exchange is closed */
  constructor(request: Request, closed: (record: ExchangeRecord) => void) {
    const given = request.headers.get("x-request-id") ?? "";
    this.id = /^[\w.:-]{1,128}$/.test(given) ? given : crypto.randomUUID();
    this.#request = { method: request.method, path: new URL(request.url).pathname };
    this.#closed = closed;
    request.signal.addEventListener("abort", () => this.clientGone());
  }

  /** Aborted when the exchange is closed or cancelled, or the client disconnects. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the response continues after its handler has returned. */
  get streams(): boolean {
    return this.#streams;
  }

  stream(): void {
    this.#streams = true;
  }

  /** Sets the answers that are generated for the request. */
  generates(answers: readonly Answer[]): void {
    this.#answers = answers;
  }

  clientGone(): void {
    if (!this.#open) return;
    this.#gone = true;
    this.cancel();
    this.close(499);
  }

  /** Cancels the answers. */
  cancel(): void {
    this.#controller.abort();
  }

  close(status: number, error?: Error): void {
    if (!this.#open) return;
    this.#open = false;
    this.#controller.abort();
    this.#closed({
      ...this.#request,
      status: this.#gone ? 499 : status,
      milliseconds: performance.now() - this.#begun,
      answers: this.#answers,
      error,
    });
  }
}

/** Returns the request's line in the access log. */
export function accessLine(record: ExchangeRecord): string {
  const { method, path, status, milliseconds, answers, error } = record;
  const parts = [`${method} ${path} ${status} ${milliseconds.toFixed(0)} ms`];
  if (answers.length > 0) {
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = usageOf(answers);
    parts.push(
      `${completion_tokens} ${
        plural(completion_tokens, "token")
      } after ${prompt_tokens} (${prompt_tokens_details.cached_tokens} cached)`,
    );
    const phases = phasesOf(answers[0]!);
    if (phases) parts.push(`first after ${phases.toFirst.toFixed(0)} ms`);
  }
  if (error && status >= 400) parts.push(error.message);
  return parts.join(", ");
}
