/** One request's answer as text while it comes: detokenized, cut at stop strings. */

import { StopStrings } from "../text/stop_strings.ts";
import { TextStream } from "../text/streaming.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Engine } from "./engine.ts";
import type { TokenLogprobs } from "./logprobs.ts";
import { endToEnd, tpot, ttft } from "./request_times.ts";
import type { FinishReason, GenerationRequest } from "./sequence.ts";
import type { Token, TokenStream } from "./token_stream.ts";

/** A request whose answer is text. */
export interface TextRequest extends GenerationRequest {
  /** Strings that end the answer and are not part of it. */
  readonly stops?: readonly string[];
  /** The answer continues the prompt's own text instead of starting a message. */
  readonly continues?: boolean;
}

/** A token, and the text that became whole by it. */
export interface AnswerPiece {
  /** Absent from a last piece of text that was held back, as the beginning of a stop string. */
  readonly token?: Token;
  /** "" while a character, or what may be a stop string, is incomplete. */
  readonly text: string;
  /** Present where the answer ends with this token, but for text that was held back. */
  readonly finish?: FinishReason;
}

/** An answer that has ended. */
export interface AnswerSummary {
  /** All of it, less a stop string. */
  readonly text: string;
  /** The generated tokens, the one that ended the answer included. */
  readonly ids: readonly number[];
  /** Why it ended. */
  readonly finish: FinishReason;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Repeats the answer, on the same device. */
  readonly seed: number;
  /** Milliseconds from the request to the first token at its reader: the TTFT. */
  readonly timeToFirst: number;
  /** Milliseconds a token after the first: the TPOT; null of fewer than two tokens. */
  readonly timePerToken: number | null;
  /** Milliseconds from the request to the last token at its reader: the E2E. */
  readonly total: number;
  /** Of each token, if the request asked. */
  readonly logprobs?: readonly TokenLogprobs[];
}

/**
 * An answer that is being generated, whether or not it is read; iterate it once. Leaving the loop
 * early cancels the rest.
 */
export class Answer implements AsyncIterable<AnswerPiece> {
  readonly #stream: TokenStream;
  readonly #strings: StopStrings;
  readonly #text: TextStream;
  readonly #minTokens: number;
  readonly #pieces: string[] = [];
  readonly #tokens: Token[] = [];
  /** When each of them was there with its text. */
  readonly #times: number[] = [];
  #summary: AnswerSummary | undefined;

  /**
   * Submits the request.
   *
   * @throws {RequestError} if it can never be served; as `Engine.submit` does.
   */
  constructor(engine: Engine, tokenizer: Tokenizer, request: TextRequest) {
    const { stops = [], continues = false, ...rest } = request;
    this.#strings = new StopStrings(stops);
    this.#minTokens = request.minTokens ?? 0;
    this.#text = new TextStream(tokenizer, { continues });
    this.#stream = engine.submit({ stopIds: [...tokenizer.eosIds], ...rest });
  }

  /** The prompt's tokens. */
  get promptIds(): readonly number[] {
    return this.#stream.sequence.request.promptIds;
  }

  /** How many of the prompt's tokens the model has read, or found in its cache. */
  get promptTokensRead(): number {
    const { entered, promptLength } = this.#stream.sequence;
    return Math.min(entered, promptLength);
  }

  /** Ends it with what there is. */
  cancel(): void {
    this.#stream.cancel();
  }

  /** Tokens of the prompt that were found in the prefix cache. */
  get cachedTokens(): number {
    return this.#stream.sequence.cached;
  }

  /**
   * `performance.now()` at submit, when its first step was submitted to the device (undefined until
   * then), and when each token was read from it.
   */
  get timings(): {
    readonly submitted: number;
    readonly started: number | undefined;
    readonly tokens: readonly number[];
  } {
    const { submitted, started, times } = this.#stream.sequence;
    return { submitted, started, tokens: times };
  }

  /** Undefined until the iteration has ended, and if it failed. */
  get summary(): AnswerSummary | undefined {
    return this.#summary;
  }

  /**
   * The whole answer, for callers that do not iterate over it.
   *
   * @throws the engine's error if it fails.
   */
  async complete(): Promise<AnswerSummary> {
    if (!this.#summary) { for await (const _ of this); }
    return this.#summary!;
  }

  /**
   * Text and tokens as they come.
   *
   * @throws the engine's error if it fails.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerPiece> {
    let finish: FinishReason = "cancelled";
    try {
      for await (const token of this.#stream) {
        this.#tokens.push(token);
        const piece = this.#text.push(token.id);
        // A stop string before the minimum number of tokens ends nothing, not even in part.
        const { text, stopped } = this.#tokens.length < this.#minTokens
          ? { text: piece, stopped: false }
          : this.#strings.push(piece);
        if (stopped) finish = "stop";
        const end = stopped ? finish : token.finish;
        this.#pieces.push(text);
        this.#times.push(performance.now());
        yield { token, text, ...(end !== undefined && { finish: end }) };
        if (stopped) return; // which cancels the request
      }
      finish = this.#stream.finish!;
      const text = this.#strings.push(this.#text.flush()).text + this.#strings.flush();
      this.#pieces.push(text);
      if (text !== "") yield { text };
    } finally {
      if (!this.#stream.failed) this.#summary = this.#summarize(finish);
    }
  }

  #summarize(finish: FinishReason): AnswerSummary {
    const { request, sampling, submitted } = this.#stream.sequence;
    const times = { submitted, times: this.#times };
    const count = times.times.length;
    return {
      text: this.#pieces.join(""),
      ids: this.#tokens.map(({ id }) => id),
      finish,
      promptTokens: request.promptIds.length,
      seed: sampling.seed,
      timeToFirst: count > 0 ? ttft(times) : 0,
      timePerToken: count > 1 ? tpot(times) : null,
      total: count > 0 ? endToEnd(times) : 0,
      ...(request.logprobs !== undefined &&
        { logprobs: this.#tokens.flatMap(({ logprobs }) => logprobs ?? []) }),
    };
  }
}
