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

/**
 * The parts of an answer as they come.
 *
 * @throws {EndpointError} if the server reports an error, or the stream is broken or cut off.
 */
export async function* readStream(
  response: Response,
  { url, signal }: { readonly url: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<StreamPart> {
  let ended = false;
  let parts: StreamPart[] = [];
  let failure: Error | undefined;
  const parser = createParser({
    maxBufferSize: MOST_EVENT_LETTERS,
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded") failure ??= error;
      // As llama-server had it for long: a field of its own.
      if (error.field === "error") failure ??= failed(error.value, url);
    },
    onEvent: ({ data }) => {
      if (data.trim() === "[DONE]") {
        ended = true;
        return;
      }
      try {
        const part = partOf(data, url);
        if (part.finish !== undefined) ended = true;
        parts.push(part);
      } catch (error) {
        failure ??= error as Error;
      }
    },
  });
  try {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      parser.feed(text);
      const come = parts;
      parts = [];
      yield* come;
      if (failure) throw failure;
    }
  } catch (error) {
    if (error instanceof EndpointError || signal?.aborted) throw error;
    throw new EndpointError(`Cannot read an answer of ${url}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (!ended) throw new EndpointError(`Cannot read an answer of ${url}: it was cut off`);
}

function partOf(data: string, url: string): StreamPart {
  const at = performance.now();
  const parsed = chunkSchema.safeParse(parseJson(data));
  if (!parsed.success) {
    throw new EndpointError(`Cannot read an answer of ${url}: ${data.slice(0, 200)}`);
  }
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

function failed(message: string | undefined, url: string): EndpointError {
  return new EndpointError(`Cannot get an answer of ${url}: ${message}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
