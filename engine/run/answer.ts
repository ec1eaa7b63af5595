/** Streams one request's answer as text: detokenizes it and ends it at stop strings. */

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
  /** The answer continues the prompt's text instead of starting a message. */
  readonly continues?: boolean;
}

/** A token, and the text that it completes. */
export interface AnswerPiece {
  /** Absent if this is the last piece, with text that was held back as a possible stop string. */
  readonly token?: Token;
  /** "" while a character or a possible stop string is incomplete. */
  readonly text: string;
  /** Present if the answer ends with this token; a last piece with held-back text may follow. */
  readonly finish?: FinishReason;
}

/** An answer that has ended. */
export interface AnswerSummary {
  /** The whole text, without a stop string. */
  readonly text: string;
  /** The generated tokens, including the one that ended the answer. */
  readonly ids: readonly number[];
  /** Why the answer ended. */
  readonly finish: FinishReason;
  /** Number of tokens of the prompt. */
  readonly promptTokens: number;
  /** The seed with which the same device generates the same answer again. */
  readonly seed: number;
  /** TTFT: milliseconds from the request until the consumer had the first token. */
  readonly timeToFirst: number;
  /** TPOT: milliseconds per token after the first; null if there are fewer than two tokens. */
  readonly timePerToken: number | null;
  /** E2E: milliseconds from the request until the consumer had the last token. */
  readonly total: number;
  /** For each token, if the request asked for them. */
  readonly logprobs?: readonly TokenLogprobs[];
}

/**
 * An answer that is being generated, whether or not it is read. It can be iterated once. Leaving
 * the loop early cancels the request.
 */
export class Answer implements AsyncIterable<AnswerPiece> {
  readonly #stream: TokenStream;
  readonly #strings: StopStrings;
  readonly #text: TextStream;
  readonly #minTokens: number;
  readonly #pieces: string[] = [];
  readonly #tokens: Token[] = [];
  /** When each token was available with its text. */
  readonly #times: number[] = [];
  #summary: AnswerSummary | undefined;

  /**
   * Submits the request.
   *
   * @throws {RequestError} if the request can never be served; other errors as in `Engine.submit`.
   */
  constructor(engine: Engine, tokenizer: Tokenizer, request: TextRequest) {
    const { stops = [], continues = false, ...rest } = request;
    this.#strings = new StopStrings(stops);
    this.#minTokens = request.minTokens ?? 0;
    this.#text = new TextStream(tokenizer, { continues });
    this.#stream = engine.submit({ stopIds: [...tokenizer.eosIds], ...rest });
  }

  /** Token ids of the prompt. */
  get promptIds(): readonly number[] {
    return this.#stream.sequence.request.promptIds;
  }

  /** Number of the prompt's tokens that the model has processed or found in the prefix cache. */
  get promptTokensRead(): number {
    const { entered, promptLength } = this.#stream.sequence;
    return Math.min(entered, promptLength);
  }

  /** Ends the answer; it keeps the text generated so far. */
  cancel(): void {
    this.#stream.cancel();
  }

  /** Number of the prompt's tokens that were found in the prefix cache. */
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

  /** Undefined until the iteration has ended; it stays undefined if the engine failed. */
  get summary(): AnswerSummary | undefined {
    return this.#summary;
  }

  /**
   * Waits for the whole answer, for callers that do not iterate over it.
   *
   * @throws the engine's error if it fails.
   */
  async complete(): Promise<AnswerSummary> {
    if (!this.#summary) { for await (const _ of this); }
    return this.#summary!;
  }

  /**
   * Yields text and tokens as they are generated.
   *
   * @throws the engine's error if it fails.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerPiece> {
    let finish: FinishReason = "cancelled";
    try {
      for await (const token of this.#stream) {
        this.#tokens.push(token);
        const piece = this.#text.push(token.id);
        // Before the minimum number of tokens, no stop string or part of one counts.
        const { text, stopped } = this.#tokens.length < this.#minTokens
          ? { text: piece, stopped: false }
          : this.#strings.push(piece);
        if (stopped) finish = "stop";
        const end = stopped ? finish : token.finish;
        this.#pieces.push(text);
        this.#times.push(performance.now());
        yield { token, text, ...(end !== undefined && { finish: end }) };
        if (stopped) return; // Leaving the loop cancels the request.
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
