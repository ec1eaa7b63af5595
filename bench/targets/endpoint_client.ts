/**
 * A client of OpenAI's API that measures: what vLLM, SGLang, llama-server, TGI, ollama, LM Studio,
 * mlx_lm and tvllm serve, with what they do differently.
 */

import { createParser } from "eventsource-parser";
import { z } from "zod";

/** Where a server is, and how to ask it. */
export interface EndpointOptions {
  /** With or without /v1 at its end. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Which of its models; default the first that it lists. */
  readonly model?: string | undefined;
  /** Cuts off what is being answered, which then throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What is asked of an endpoint. */
export interface EndpointRequest {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly sampling: {
    readonly temperature: number;
    readonly topK: number;
    readonly topP: number;
    readonly minP: number;
    readonly repeatPenalty: number;
    readonly seed: number;
  };
  /** Called with how many pieces of text have come. */
  readonly onChunk?: (count: number) => void;
}

/** How tokens were counted: by the server's usage, its tokenizer, or a chunk of the stream each. */
export type TokenCount = "usage" | "tokenizer" | "chunks";

/** One answer. Times are `performance.now()`. */
export interface EndpointAnswer {
  readonly submitted: number;
  /** When each piece of text came. */
  readonly chunks: readonly number[];
  readonly tokens: number;
  readonly counted: TokenCount;
  /** Tokens of the prompt, and how many of them were cached, as far as the server tells. */
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
  /** The server's own times, ms. */
  readonly own: { readonly prompt: number; readonly perToken: number } | undefined;
}

/** A request that the endpoint did not answer as it should. */
export class EndpointError extends Error {
  override name = "EndpointError";
}

const modelList = z.object({
  data: z.array(z.object({
    id: z.string(),
    max_model_len: z.number().nullish(),
    meta: z.object({ n_ctx_train: z.number().nullish() }).nullish(),
  })),
});

const usage = z.object({
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
  })).nullish(),
  usage: usage.nullish(),
  timings: z.object({ prompt_ms: z.number(), predicted_per_token_ms: z.number() }).nullish(),
  error: z.unknown().optional(),
});

/** The stream as far as it was read. */
interface Reading {
  readonly submitted: number;
  readonly chunks: number[];
  text: string;
  ended: boolean;
  usage: z.infer<typeof usage> | undefined;
  own: EndpointAnswer["own"];
}

/** A server that answers. `EndpointClient.open` asks it for its models. */
export class EndpointClient {
  /** Whether it has /v1/completions, or chats alone. */
  #api: "completions" | "chat" = "completions";
  #tokenizes = true;

  private constructor(
    readonly url: string,
    readonly options: EndpointOptions,
    readonly facts: {
      readonly model: string;
      readonly server: string;
      readonly contextLength: number | undefined;
    },
  ) {}

  /** The model that is asked. */
  get model(): string {
    return this.facts.model;
  }

  /**
   * Asks for the models.
   *
   * @throws {EndpointError} if nothing answers there, or it has no such model.
   */
  static async open(options: EndpointOptions): Promise<EndpointClient> {
    const url = options.url.replace(/\/+$/, "").replace(/\/v1$/, "");
    const response = await ask(`${url}/v1/models`, options);
    const parsed = modelList.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success) throw new EndpointError(`Cannot use ${url}: /v1/models lists no models`);
    const { data } = parsed.data;
    const model = options.model === undefined
      ? data[0]
      : data.find(({ id }) => id === options.model) ?? { id: options.model };
    if (model === undefined) throw new EndpointError(`Cannot use ${url}: it has no models`);
    const server = response.headers.get("server") ?? "unknown";
    const contextLength = model.max_model_len ?? model.meta?.n_ctx_train ?? undefined;
    return new EndpointClient(url, options, { model: model.id, server, contextLength });
  }

  /** The route that it is asked by. */
  get api(): "completions" | "chat" {
    return this.#api;
  }

  /**
   * Has a prompt answered, to its full length where the server can be told so.
   *
   * @throws {EndpointError} if it refuses, fails, or breaks off.
   */
  async complete(request: EndpointRequest): Promise<EndpointAnswer> {
    const reading: Reading = {
      submitted: performance.now(),
      chunks: [],
      text: "",
      ended: false,
      usage: undefined,
      own: undefined,
    };
    const response = await this.#post(request);
    if (response === undefined) {
      this.#api = "chat";
      return await this.complete(request);
    }
    await this.#read(response, reading, request.onChunk);
    if (!reading.ended) {
      throw new EndpointError(`Cannot read an answer of ${this.url}: it was cut off`);
    }
    if (reading.chunks.length === 0) {
      throw new EndpointError(`Cannot measure an answer of ${this.url}: it has no text`);
    }
    const { submitted, chunks, usage, own } = reading;
    const tokens = usage?.completion_tokens ?? await this.tokenCount(reading.text);
    return {
      ...{ submitted, chunks, own },
      tokens: tokens ?? chunks.length,
      counted: usage ? "usage" : tokens === undefined ? "chunks" : "tokenizer",
      promptTokens: usage?.prompt_tokens,
      cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? undefined,
    };
  }

  /** Tokens of a text without BOS, by the server's tokenizer; undefined if it has no route for it. */
  async tokenCount(text: string): Promise<number | undefined> {
    if (!this.#tokenizes) return undefined;
    // vLLM reads the one field, llama-server the other.
    const body = { model: this.model, prompt: text, content: text, add_special_tokens: false };
    const response = await fetch(`${this.url}/tokenize`, {
      method: "POST",
      headers: headers(this.options),
      body: JSON.stringify(body),
      ...(this.options.signal && { signal: this.options.signal }),
    });
    const parsed = z.object({ tokens: z.array(z.unknown()) })
      .safeParse(await response.json().catch(() => undefined));
    this.#tokenizes = response.ok && parsed.success;
    return this.#tokenizes ? parsed.data!.tokens.length : undefined;
  }

  /** Undefined: it has no such route. */
  async #post({ prompt, maxTokens, sampling }: EndpointRequest): Promise<Response | undefined> {
    const chat = this.#api === "chat";
    const { temperature, topK, topP, minP, repeatPenalty, seed } = sampling;
    const body = {
      model: this.model,
      ...(chat ? { messages: [{ role: "user", content: prompt }] } : { prompt }),
      max_tokens: maxTokens,
      // Of vLLM, SGLang, llama-server and tvllm; others ignore them, and may end earlier.
      min_tokens: maxTokens,
      ignore_eos: true,
      temperature,
      ...(temperature > 0 && { top_k: topK === 0 ? -1 : topK, top_p: topP, min_p: minP, seed }),
      ...(repeatPenalty !== 1 && { repetition_penalty: repeatPenalty }),
      stream: true,
      stream_options: { include_usage: true },
    };
    const path = chat ? "/v1/chat/completions" : "/v1/completions";
    try {
      return await ask(`${this.url}${path}`, this.options, JSON.stringify(body));
    } catch (error) {
      const isMissing = error instanceof RefusedError && [404, 405, 501].includes(error.status);
      // A model that it does not have is not found either.
      if (chat || !isMissing || /model/i.test(error.message)) throw error;
      return undefined;
    }
  }

  async #read(
    response: Response,
    reading: Reading,
    onChunk: EndpointRequest["onChunk"],
  ): Promise<void> {
    let failure: EndpointError | undefined;
    const parser = createParser({
      onEvent: ({ data }) => {
        try {
          const { length } = reading.chunks;
          this.#take(data, reading);
          if (reading.chunks.length > length) onChunk?.(reading.chunks.length);
        } catch (error) {
          failure ??= error as EndpointError;
        }
      },
    });
    try {
      for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
        parser.feed(text);
        if (failure) throw failure;
      }
    } catch (error) {
      if (error instanceof EndpointError || this.options.signal?.aborted) throw error;
      throw new EndpointError(`Cannot read an answer of ${this.url}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  #take(data: string, reading: Reading): void {
    if (data.trim() === "[DONE]") {
      reading.ended = true;
      return;
    }
    const now = performance.now();
    const parsed = chunkSchema.safeParse(parseJson(data));
    if (!parsed.success) {
      throw new EndpointError(`Cannot read an answer of ${this.url}: ${data.slice(0, 200)}`);
    }
    const { choices, usage, timings, error } = parsed.data;
    if (error !== undefined && error !== null) {
      throw new EndpointError(`Cannot get an answer of ${this.url}: ${JSON.stringify(error)}`);
    }
    for (const { text, delta, finish_reason } of choices ?? []) {
      const piece = (text ?? "") + (delta?.reasoning_content ?? delta?.reasoning ?? "") +
        (delta?.content ?? "");
      // One with the role alone is no token.
      if (piece !== "") {
        reading.chunks.push(now);
        reading.text += piece;
      }
      if (finish_reason) reading.ended = true;
    }
    if (usage) reading.usage = usage;
    if (timings) {
      reading.own = { prompt: timings.prompt_ms, perToken: timings.predicted_per_token_ms };
    }
  }
}

class RefusedError extends EndpointError {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** A response that is none of an error. */
async function ask(url: string, options: EndpointOptions, body?: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      headers: headers(options),
      ...(body !== undefined && { body }),
      ...(options.signal && { signal: options.signal }),
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new EndpointError(`Cannot reach ${url}: ${reasonOf(error)}`, { cause: error });
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  throw new RefusedError(
    response.status,
    `${url} answers ${response.status}: ${text.slice(0, 300)}`,
  );
}

function headers({ apiKey }: EndpointOptions): Record<string, string> {
  return {
    "content-type": "application/json",
    ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
