/**
 * Sends requests to a server with OpenAI's API: vLLM, SGLang, llama-server, TGI, ollama, LM Studio,
 * mlx_lm or tvllm serve.
 */

import { z } from "zod";
import { fetchFailure } from "../engine/causes.ts";
import { EndpointError, RefusedError } from "./errors.ts";

/** The address of a server, and how to use it. */
export interface EndpointOptions {
  /** With or without /v1 at its end. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** The model to use; by default the first one that the server lists. */
  readonly model?: string | undefined;
  /** Aborts running requests, which then throw its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The body of a request: OpenAI's fields, and further fields of servers. */
export interface RequestBody {
  /** 0 means no limit. */
  readonly top_k?: number | undefined;
  readonly [field: string]: unknown;
}

/** Length after which reading of an error's body stops. */
const MOST_ERROR_BYTES = 4096;
/** Characters of an error's body that are shown. */
const SHOWN_LETTERS = 300;

const modelList = z.object({
  data: z.array(z.object({
    id: z.string(),
    max_model_len: z.number().nullish(),
    meta: z.object({ n_ctx_train: z.number().nullish() }).nullish(),
  })),
});

/** A server and one of its models. */
export class Endpoint {
  /**
   * The value of `top_k` that means no limit: -1 for vLLM, SGLang and llama-server, 0 for mlx_lm.
   */
  #everyToken = -1;

  private constructor(
    readonly url: string,
    readonly options: EndpointOptions,
    /** Facts from the server's list of models. */
    readonly facts: {
      readonly model: string;
      readonly server: string;
      readonly contextLength: number | undefined;
    },
  ) {}

  /** The name of the model that is used. */
  get model(): string {
    return this.facts.model;
  }

  /**
   * Requests the list of models and selects one.
   *
   * @throws {EndpointError} if the server cannot be reached, or lists no model and none is named.
   */
  static async open(options: EndpointOptions): Promise<Endpoint> {
    const url = options.url.replace(/\/+$/, "").replace(/\/v1$/, "");
    const { data, server } = await listModels(url, options);
    const model = options.model === undefined
      ? data[0]
      : data.find(({ id }) => id === options.model) ?? { id: options.model };
    if (model === undefined) throw new EndpointError(`Cannot use ${url}: it has no models`);
    const contextLength = model.max_model_len ?? model.meta?.n_ctx_train ?? undefined;
    return new Endpoint(url, options, { model: model.id, server, contextLength });
  }

  /** Sends a GET request; throws as `post` does. */
  get(path: string): Promise<Response> {
    return ask(`${this.url}${path}`, this.options);
  }

  /**
   * Sends a POST request for the model. A `top_k` of 0 is replaced by the server's value for no
   * limit. (Without the field, some servers would use their own default.)
   *
   * @param signal aborts only this request
   * @throws {RefusedError} if the server answers with an error status.
   * @throws {EndpointError} if the server cannot be reached.
   */
  async post(path: string, body: RequestBody, signal?: AbortSignal): Promise<Response> {
    const options = { ...this.options, signal: signal ?? this.options.signal };
    const send = (body: RequestBody) =>
      ask(`${this.url}${path}`, options, JSON.stringify({ model: this.model, ...body }));
    if (body.top_k !== 0 || this.#everyToken === 0) return await send(body);
    try {
      return await send({ ...body, top_k: this.#everyToken });
    } catch (error) {
      if (!(error instanceof RefusedError && error.names("top_k"))) throw error;
      const response = await send(body);
      this.#everyToken = 0;
      return response;
    }
  }
}

/**
 * Returns the server's models and its name. The list is empty if the server has no usable list but
 * a model is named.
 */
async function listModels(
  url: string,
  options: EndpointOptions,
): Promise<z.infer<typeof modelList> & { server: string }> {
  let server = "unknown";
  try {
    const response = await ask(`${url}/v1/models`, options);
    server = response.headers.get("server") ?? server;
    const parsed = modelList.safeParse(await response.json().catch(() => undefined));
    if (parsed.success) return { ...parsed.data, server };
  } catch (error) {
    const isMissing = error instanceof RefusedError &&
      (error.isMissingRoute || error.status >= 500);
    if (!isMissing || options.model === undefined) throw error;
  }
  if (options.model !== undefined) return { data: [], server };
  throw new EndpointError(
    `Cannot use ${url}: /v1/models lists no models; name one with --served-model`,
  );
}

/** Sends a request (POST if there is a body, else GET) and returns its response if it succeeded. */
async function ask(url: string, options: EndpointOptions, body?: string): Promise<Response> {
  const { apiKey, signal } = options;
  let response: Response;
  try {
    response = await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        "content-type": "application/json",
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
      },
      ...(body !== undefined && { body }),
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new EndpointError(`Cannot reach ${url}: ${fetchFailure(error)}`, { cause: error });
  }
  if (response.ok) return response;
  throw new RefusedError(url, response.status, await beginningOf(response));
}

/** Returns the beginning of an error's body, which usually contains the message. */
async function beginningOf(response: Response): Promise<string> {
  let text = "";
  try {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.length >= MOST_ERROR_BYTES) break;
    }
  } catch {
    // The part that has arrived is enough.
  }
  return text.slice(0, SHOWN_LETTERS);
}
