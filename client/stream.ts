/** The stream of an answer, with what servers do differently. */

import { createParser } from "eventsource-parser";
import { z } from "zod";
import { reasonOf } from "./endpoint.ts";
import { EndpointError } from "./errors.ts";
import { logprobsSchema, type TokenLogprob, tokenLogprobs } from "./token_logprobs.ts";

/** Longest event that is read: none of an answer comes near it. */
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
  // Of llama-server, and of tvllm.
  timings: z.object({ prompt_ms: z.number(), predicted_per_token_ms: z.number() }).nullish(),
  error: z.unknown().optional(),
});

/** Tokens as the server counts them. */
export interface Usage {
  readonly prompt: number;
  readonly answer: number;
  /** Of the prompt's, those that it had in its cache; undefined where it does not tell. */
  readonly cached: number | undefined;
}

/** The server's own times, ms. */
export interface OwnTimes {
  readonly prompt: number;
  readonly perToken: number;
}

/** What came with a chunk. */
export interface StreamPart {
  /** `performance.now()` when it came. */
  readonly at: number;
  /** What the model thinks, and what it answers; "" where it has none of it. */
  readonly reasoning: string;
  readonly text: string;
  /** Of its tokens, if the request asked and the server has them. */
  readonly logprobs: readonly TokenLogprob[];
  readonly finish?: string;
  readonly usage?: Usage;
  readonly own?: OwnTimes;
}

/** How a server's text becomes the parts of an answer. */
export interface PartParser {
  /** The parts in what has come; what is wrong with it is thrown after those before. */
  feed(text: string): Iterable<StreamPart>;
  /** Whether the answer's end has come. */
  readonly ended: boolean;
}

/** Whose answer it is, and what ends the wait for it. */
export interface AnswerSource {
  readonly url: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The parts of an answer as they come.
 *
 * @throws {EndpointError} if the server reports an error, or the stream is broken or cut off.
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
    throw new EndpointError(`Cannot read an answer of ${url}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (!parser.ended) throw new EndpointError(`Cannot read an answer of ${url}: it was cut off`);
}

/** The parts of an answer in server-sent events; throws as `readParts` does. */
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
        // As llama-server had it for long: a field of its own.
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

/** The error that a server reports in its answer. */
export function failed(message: string | undefined, url: string): EndpointError {
  return new EndpointError(`Cannot get an answer of ${url}: ${message}`);
}

/** An answer, or a piece of it, that has not the form that it should have. */
export function unreadable(text: string, url: string): EndpointError {
  return new EndpointError(`Cannot read an answer of ${url}: ${text.slice(0, 200)}`);
}

/** The value of a JSON text; undefined if it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
