/**
 * A server with OpenAI's API, and how a request is put to it: vLLM, SGLang, llama-server, TGI, ollama,
 * LM Studio, mlx_lm and tvllm serve.
 */

import { z } from "zod";
import { EndpointError, RefusedError } from "./errors.ts";

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

/** What a request asks for, in OpenAI's fields and those that servers have besides. */
export interface RequestBody {
  /** 0: any token. */
  readonly top_k?: number | undefined;
  readonly [field: string]: unknown;
}

/** Of the body of an error, as much is read. */
const MOST_ERROR_BYTES = 4096;
/** Letters of it that are shown. */
const SHOWN_LETTERS = 300;

const modelList = z.object({
  data: z.array(z.object({
    id: z.string(),
    max_model_len: z.number().nullish(),
    meta: z.object({ n_ctx_train: z.number().nullish() }).nullish(),
  })),
});

/** A server whose models are known. */
export class Endpoint {
  /** What stands for no limit as `top_k`: -1 to vLLM, SGLang and llama-server, 0 to mlx_lm. */
  #everyToken = -1;

  private constructor(
    readonly url: string,
    readonly options: EndpointOptions,
    /** What it tells of itself. */
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

  /** Gets what a path has; throws as `post` does. */
  get(path: string): Promise<Response> {
    return ask(`${this.url}${path}`, this.options);
  }

  /**
   * Posts a request of the model. Its `top_k` may be 0 for no limit, which is asked of each server in its
   * own way: without the field, some would take a default of theirs. `signal` cuts off this request alone.
   *
   * @throws {RefusedError} if it answers with an error.
   * @throws {EndpointError} if it cannot be reached.
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

/** The models, and what the server calls itself; none where the list is of no use, and one is named. */
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

/** A response that is none of an error. */
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
    throw new EndpointError(`Cannot reach ${url}: ${reasonOf(error)}`, { cause: error });
  }
  if (response.ok) return response;
  throw new RefusedError(url, response.status, await beginningOf(response));
}

/** What an error's body says first: its message, where it has one. */
async function beginningOf(response: Response): Promise<string> {
  let text = "";
  try {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.length >= MOST_ERROR_BYTES) break;
    }
  } catch {
    // What has come will do.
  }
  return text.slice(0, SHOWN_LETTERS);
}

/** What an error says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
