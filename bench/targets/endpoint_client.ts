/**
 * Measures answers of a server with OpenAI's or ollama's API: when each piece of text arrived, and
 * how many tokens there were.
 */

import { z } from "zod";
import { Endpoint, type EndpointOptions, type RequestBody } from "../../client/endpoint.ts";
import { EndpointError, RefusedError } from "../../client/errors.ts";
import { isOllama, OLLAMA_ROUTE, readOllama } from "../../client/ollama.ts";
import { type OwnTimes, readStream, type Usage } from "../../client/stream.ts";
import type { EndpointApi } from "../report/report.ts";

/** A request to an endpoint. */
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
  /** Called with the number of pieces of text that have arrived. */
  readonly onChunk?: (count: number) => void;
}

/**
 * How tokens were counted: by the server's usage, by its tokenizer, by a tokenizer on this machine,
 * or as one per chunk of the stream.
 */
export type TokenCount = "usage" | "tokenizer" | "local" | "chunks";

/** How an endpoint is measured. */
export interface MeasuringOptions extends EndpointOptions {
  /** Counts the tokens of a text, instead of the server. */
  readonly countTokens?: ((text: string) => number) | undefined;
}

/** One answer. Times are `performance.now()`. */
export interface EndpointAnswer {
  readonly submitted: number;
  /** When each piece of text arrived. */
  readonly chunks: readonly number[];
  readonly tokens: number;
  readonly counted: TokenCount;
  /** Tokens of the prompt, and how many of them were cached, if the server reports them. */
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
  /** The server's own times in ms. */
  readonly own: OwnTimes | undefined;
}

/** A client of a server. `EndpointClient.open` connects to it. */
export class EndpointClient {
  /** "chat" if the server has no other route. */
  #api: EndpointApi;
  #tokenizes = true;

  private constructor(
    readonly endpoint: Endpoint,
    readonly countTokens: MeasuringOptions["countTokens"],
    api: EndpointApi,
  ) {
    this.#api = api;
  }

  /**
   * Reads the server's list of models, and finds out whether it is ollama.
   *
   * @throws {EndpointError} if there is no server, or it does not have the model.
   */
  static async open(options: MeasuringOptions): Promise<EndpointClient> {
    const endpoint = await Endpoint.open(options);
    const api = await isOllama(endpoint) ? "ollama" : "completions";
    return new EndpointClient(endpoint, options.countTokens, api);
  }

  /** The API that requests use. */
  get api(): EndpointApi {
    return this.#api;
  }

  /**
   * Requests an answer to a prompt, at full length if the server can be told so.
   *
   * @throws {EndpointError} if the server refuses, fails, or breaks the answer off.
   */
  async complete(request: EndpointRequest): Promise<EndpointAnswer> {
    const { url, options: { signal } } = this.endpoint;
    const submitted = performance.now();
    const response = await this.#post(request);
    if (response === undefined) {
      this.#api = this.#api === "ollama" ? "completions" : "chat";
      return await this.complete(request);
    }
    const chunks: number[] = [];
    let text = "";
    let usage: Usage | undefined;
    let own: OwnTimes | undefined;
    const read = this.#api === "ollama" ? readOllama : readStream;
    for await (const part of read(response, { url, signal })) {
      usage = part.usage ?? usage;
      own = part.own ?? own;
      const piece = part.reasoning + part.text;
      // A chunk that only contains a role is not a token.
      if (piece === "") continue;
      text += piece;
      chunks.push(part.at);
      request.onChunk?.(chunks.length);
    }
    if (chunks.length === 0) {
      throw new EndpointError(`Cannot measure an answer of ${url}: it has no text`);
    }
    const answered = { submitted, chunks, own };
    return {
      ...answered,
      ...await this.#counted(text, usage, chunks.length),
      promptTokens: usage?.prompt,
      cachedTokens: usage?.cached,
    };
  }

  async #counted(
    text: string,
    usage: Usage | undefined,
    chunks: number,
  ): Promise<Pick<EndpointAnswer, "tokens" | "counted">> {
    if (this.countTokens) return { tokens: Math.max(1, this.countTokens(text)), counted: "local" };
    if (usage) return { tokens: usage.answer, counted: "usage" };
    const tokens = await this.tokenCount(text);
    return tokens === undefined
      ? { tokens: chunks, counted: "chunks" }
      : { tokens, counted: "tokenizer" };
  }

  /**
   * The number of tokens of a text without BOS, counted by the local tokenizer or else the
   * server's; undefined if the server has no route for this.
   */
  async tokenCount(text: string): Promise<number | undefined> {
    if (this.countTokens) return this.countTokens(text);
    if (!this.#tokenizes) return undefined;
    // vLLM reads `prompt`, llama-server reads `content`.
    const body = { prompt: text, content: text, add_special_tokens: false };
    try {
      const response = await this.endpoint.post("/tokenize", body);
      return z.object({ tokens: z.array(z.unknown()) }).parse(await response.json()).tokens.length;
    } catch (error) {
      if (this.endpoint.options.signal?.aborted) throw error;
      this.#tokenizes = false;
      return undefined;
    }
  }

  /** Sends the request; returns undefined if the server does not have the route. */
  async #post(request: EndpointRequest): Promise<Response | undefined> {
    const api = this.#api;
    const body = api === "ollama" ? ollamaBody(request) : openaiBody(request, api === "chat");
    try {
      return await this.endpoint.post(ROUTES[api], body);
    } catch (error) {
      if (api === "chat" || !(error instanceof RefusedError && error.isMissingRoute)) throw error;
      return undefined;
    }
  }
}

const ROUTES: Readonly<Record<EndpointApi, string>> = {
  completions: "/v1/completions",
  chat: "/v1/chat/completions",
  ollama: OLLAMA_ROUTE,
};

function openaiBody({ prompt, maxTokens, sampling }: EndpointRequest, chat: boolean): RequestBody {
  const { temperature, topK, topP, minP, repeatPenalty, seed } = sampling;
  return {
    ...(chat ? { messages: [{ role: "user", content: prompt }] } : { prompt }),
    max_tokens: maxTokens,
    // vLLM, SGLang, llama-server and tvllm support these. Other servers ignore them, and their
    // answers may end earlier.
    min_tokens: maxTokens,
    ignore_eos: true,
    temperature,
    ...(temperature > 0 && { top_k: topK, top_p: topP, min_p: minP, seed }),
    ...(repeatPenalty !== 1 && { repetition_penalty: repeatPenalty }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** The same for ollama, whose answers always end where the model ends them. */
function ollamaBody({ prompt, maxTokens, sampling }: EndpointRequest): RequestBody {
  const { temperature, topK, topP, minP, repeatPenalty, seed } = sampling;
  return {
    prompt,
    raw: true,
    options: {
      num_predict: maxTokens,
      temperature,
      repeat_penalty: repeatPenalty,
      ...(temperature > 0 && { top_k: topK, top_p: topP, min_p: minP, seed }),
    },
  };
}
