/** Reads the stream of an answer, and handles the differences between servers. */

import { createParser } from "eventsource-parser";
import { z } from "zod";
import { fetchFailure } from "../engine/causes.ts";
import { EndpointError } from "./errors.ts";
import { logprobsSchema, type TokenLogprob, tokenLogprobs } from "./token_logprobs.ts";

/** Length limit of an event, in characters. Events of an answer are far shorter. */
export const MOST_EVENT_LETTERS = 16 * 2 ** 20;

const usageSchema = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
});

const delta = z.object({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
});

const chunkSchema = z.object({
  choices: z.array(z.object({
    text: z.string().nullish(),
    delta: delta.nullish(),
    finish_reason: z.string().nullish(),
    logprobs: logprobsSchema.nullish(),
  })).nullish(),
  usage: usageSchema.nullish(),
  // Only from llama-server and tvllm.
  timings: z.object({ prompt_ms: z.number(), predicted_per_token_ms: z.number() }).nullish(),
  error: z.unknown().optional(),
});

/** Numbers of tokens that the server reports. */
export interface Usage {
  readonly prompt: number;
  readonly answer: number;
  /** Tokens of the prompt that were in the server's cache; undefined if it does not report them. */
  readonly cached: number | undefined;
}

/** Times that the server reports, in ms. */
export interface OwnTimes {
  readonly prompt: number;
  readonly perToken: number;
}

/** The content of a chunk. */
export interface StreamPart {
  /** `performance.now()` when it arrived. */
  readonly at: number;
  /** The chunk's text of the model's thoughts; "" if there is none. */
  readonly reasoning: string;
  /** The chunk's text of the answer; "" if there is none. */
  readonly text: string;
  /** Log-probabilities of its tokens, if they were requested and the server sends them. */
  readonly logprobs: readonly TokenLogprob[];
  readonly finish?: string;
  readonly usage?: Usage;
  readonly own?: OwnTimes;
}

/** Parses a server's text into the parts of an answer. */
export interface PartParser {
  /**
   * Adds text and returns the parts that are complete. An error is thrown after the parts before
   * it.
   */
  feed(text: string): Iterable<StreamPart>;
  /** Whether the end of the answer has arrived. */
  readonly ended: boolean;
}

/** The server that sends an answer, and the signal that aborts the request. */
export interface AnswerSource {
  readonly url: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads the parts of an answer as they arrive.
 *
 * @throws {EndpointError} if the server reports an error, or the stream is invalid or ends early.
 */
export async function* readParts(
  response: Response,
  { url, signal }: AnswerSource,
  parser: PartParser,
): AsyncGenerator<StreamPart> {
  try {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      yield* parser.feed(text);
    }
  } catch (error) {
    if (error instanceof EndpointError || signal?.aborted) throw error;
    throw new EndpointError(`Cannot read an answer from ${url}: ${fetchFailure(error)}`, {
      cause: error,
    });
  }
  if (!parser.ended) throw new EndpointError(`Cannot read an answer from ${url}: it was cut off`);
}

/** Reads the parts of an answer from server-sent events; throws as `readParts` does. */
export function readStream(response: Response, source: AnswerSource): AsyncGenerator<StreamPart> {
  return readParts(response, source, new EventParser(source.url));
}

class EventParser implements PartParser {
  ended = false;
  #parts: StreamPart[] = [];
  #failure: Error | undefined;
  readonly #parser: ReturnType<typeof createParser>;

  constructor(url: string) {
    this.#parser = createParser({
      maxBufferSize: MOST_EVENT_LETTERS,
      onError: (error) => {
        if (error.type === "max-buffer-size-exceeded") this.#failure ??= error;
        // Older versions of llama-server send errors in an event field "error".
        if (error.field === "error") this.#failure ??= failed(error.value, url);
      },
      onEvent: ({ data }) => {
        if (data.trim() === "[DONE]") {
          this.ended = true;
          return;
        }
        try {
          const part = partOf(data, url);
          if (part.finish !== undefined) this.ended = true;
          this.#parts.push(part);
        } catch (error) {
          this.#failure ??= error as Error;
        }
      },
    });
  }

  *feed(text: string): Generator<StreamPart> {
    this.#parser.feed(text);
    const come = this.#parts;
    this.#parts = [];
    yield* come;
    if (this.#failure) throw this.#failure;
  }
}

function partOf(data: string, url: string): StreamPart {
  const at = performance.now();
  const parsed = chunkSchema.safeParse(parseJson(data));
  if (!parsed.success) throw unreadable(data, url);
  const { choices, usage, timings, error } = parsed.data;
  if (error !== undefined && error !== null) throw failed(JSON.stringify(error), url);
  let [reasoning, text, finish] = ["", "", ""];
  const logprobs: TokenLogprob[] = [];
  for (const choice of choices ?? []) {
    reasoning += choice.delta?.reasoning_content ?? choice.delta?.reasoning ?? "";
    text += (choice.text ?? "") + (choice.delta?.content ?? "");
    finish ||= choice.finish_reason ?? "";
    if (choice.logprobs) logprobs.push(...tokenLogprobs(choice.logprobs));
  }
  return {
    ...{ at, reasoning, text, logprobs },
    ...(finish !== "" && { finish }),
    ...(usage && {
      usage: {
        prompt: usage.prompt_tokens,
        answer: usage.completion_tokens,
        cached: usage.prompt_tokens_details?.cached_tokens ?? undefined,
      },
    }),
    ...(timings && {
      own: { prompt: timings.prompt_ms, perToken: timings.predicted_per_token_ms },
    }),
  };
}

/** Creates the error for an error that a server reports in its answer. */
export function failed(message: string | undefined, url: string): EndpointError {
  return new EndpointError(`Cannot get an answer from ${url}: ${message}`);
}

/** Creates the error for an answer, or a piece of it, in an unexpected format. */
export function unreadable(text: string, url: string): EndpointError {
  return new EndpointError(`Cannot read an answer from ${url}: ${text.slice(0, 200)}`);
}

/** Parses JSON; returns undefined if the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
