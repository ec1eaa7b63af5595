/** One request's answer as text while it comes: detokenized, cut at stop strings. */

import { StopStrings } from "../text/stop_strings.ts";
import { TextStream } from "../text/streaming.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Engine } from "./engine.ts";
import type { FinishReason, GenerationRequest } from "./sequence.ts";
import type { Token } from "./token_stream.ts";

/** A request whose stop tokens are the model's own, with stop strings besides. */
export interface TextRequest extends Omit<GenerationRequest, "stopIds"> {
  /** Strings that end the answer and are not part of it. */
  readonly stops?: readonly string[];
  /** The answer goes on with the prompt's own text, not with a new message. */
  readonly continues?: boolean;
}

/** A token, and the text that became whole by it. */
export interface TextPiece {
  readonly token: Token;
  readonly text: string;
}

/** What is known of an answer when it has ended. */
export interface AnswerSummary {
  readonly promptTokens: number;
  readonly ids: readonly number[];
  readonly finish: FinishReason;
  /** Milliseconds from submit to the first token and to the last. */
  readonly timeToFirst: number;
  readonly total: number;
}

/** An answer that is being generated; iterate it once. */
export class TextAnswer implements AsyncIterable<TextPiece> {
  #summary: AnswerSummary | undefined;

  constructor(
    readonly engine: Engine,
    readonly tokenizer: Tokenizer,
    readonly request: TextRequest,
  ) {}

  /** Undefined until the iteration has ended. */
  get summary(): AnswerSummary | undefined {
    return this.#summary;
  }

  /** @throws {RangeError} if the request can never be served; the engine's error if it fails. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TextPiece> {
    const { stops = [], continues = false, ...request } = this.request;
    const strings = new StopStrings(stops);
    const text = new TextStream(this.tokenizer, { continues });
    const stream = this.engine.submit({ ...request, stopIds: [...this.tokenizer.eosIds] });
    const ids: number[] = [];
    let last: Token | undefined;
    let stopped = false;
    for await (const token of stream) {
      last = token;
      ids.push(token.id);
      const result = strings.push(text.push(token.id));
      stopped = result.stopped;
      yield { token, text: result.text };
      if (stopped) break; // which cancels the request
    }
    if (!stopped && last) {
      const rest = strings.push(text.flush());
      const end = rest.text + strings.flush();
      if (end !== "") yield { token: last, text: end };
    }
    const { submitted, tokens } = stream.timings;
    this.#summary = {
      promptTokens: request.promptIds.length,
      ids,
      finish: stopped ? "stop" : stream.finish ?? "cancelled",
      timeToFirst: (tokens[0] ?? submitted) - submitted,
      total: (tokens[ids.length - 1] ?? submitted) - submitted,
    };
  }
}
