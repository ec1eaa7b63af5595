/** The HTTP server of a model: handles the requests of all routes. */

import type { Model } from "../engine/mod.ts";
import { DeviceError } from "../engine/errors.ts";
import type { Answer } from "../engine/run/answer.ts";
import { type AccessRules, checkAccess, corsHeaders } from "./access.ts";
import { Admission } from "./admission.ts";
import { chatFormat, chatPrompt } from "./chat.ts";
import { completionFormat, completionPrompts, DEFAULT_COMPLETION_TOKENS } from "./completions.ts";
import { errorResponse, HttpError, httpError } from "./errors.ts";
import { accessLine, Exchange, type ExchangeRecord } from "./exchange.ts";
import { withFieldNames } from "./field_names.ts";
import { startAnswer } from "./generation.ts";
import { checked } from "./checked.ts";
import { type BodyLimits, readJson } from "./json_body.ts";
import { Metrics } from "./metrics.ts";
import { PAGE } from "./page/mod.ts";
import { type Reply, reply } from "./reply.ts";
import {
  chatSchema,
  completionSchema,
  detokenizeSchema,
  refuseUnsupported,
  tokenizeSchema,
} from "./requests.ts";

/** Settings of the server. */
export interface ServerOptions extends AccessRules {
  /** The model's name in the API. */
  readonly name: string;
  /** Number of answers that are generated at the same time. */
  readonly concurrency: number;
  /** Number of further answers that may wait. */
  readonly queue: number;
  readonly body: BodyLimits;
  /** Time for which a client may leave an event of its stream unread, in ms. */
  readonly unread: number;
  /** Called with a line for each request, without a newline. */
  readonly log: (line: string) => void;
}

type Handler = (
  model: Model,
  exchange: Exchange,
  request: Request,
) => Response | Promise<Response>;

/** A server of one model, which may still be loading. */
export class ModelServer {
  readonly #options: ServerOptions;
  readonly #admission: Admission;
  readonly #metrics = new Metrics();
  readonly #open = new Set<Exchange>();
  /** Called when no request is open. */
  readonly #whenIdle: (() => void)[] = [];
  readonly #created = Math.floor(Date.now() / 1000);
  #model: Model | undefined;
  #draining = false;
  /** The device's failure, after which no request can be answered. */
  #failure: DeviceError | undefined;

  /** Routes that are answered without a model. */
  readonly #plainRoutes: Readonly<Record<string, () => Response>> = {
    "GET /health": () => this.#health(),
    "GET /metrics": () => this.#metricsText(),
    ...Object.fromEntries(
      Object.entries(PAGE).map((
        [route, { text, headers }],
      ) => [route, () => new Response(text, { headers })]),
    ),
  };
  readonly #routes: Readonly<Record<string, Handler>> = {
    "POST /v1/completions": (model, exchange, request) =>
      this.#completions(model, exchange, request),
    "POST /v1/chat/completions": (model, exchange, request) => this.#chat(model, exchange, request),
    "GET /v1/models": (model) => this.#models(model),
    "POST /tokenize": (model, _, request) => this.#tokenize(model, request),
    "POST /detokenize": (model, _, request) => this.#detokenize(model, request),
    "POST /reset_prefix_cache": (model) => {
      model.engine.clearPrefixCache();
      return new Response(null, { status: 200 });
    },
  };

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#admission = new Admission(options.concurrency, options.queue);
  }

  /** Sets the model. From now on, requests are answered. */
  ready(model: Model): void {
    this.#model = model;
  }

  /** Number of requests that are not finished. */
  get open(): number {
    return this.#open.size;
  }

  /** Rejects new requests from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Resolves as soon as no request is open. */
  async idle(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** Cancels all running requests. */
  cancelAll(): void {
    for (const exchange of this.#open) exchange.cancel();
  }

  /** Answers a request. Never throws. */
  async handle(request: Request): Promise<Response> {
    const exchange = new Exchange(request, (record) => this.#over(exchange, record));
    this.#open.add(exchange);
    let response: Response;
    let failure: HttpError | undefined;
    try {
      response = await this.#respond(request, exchange);
    } catch (error) {
      if (error instanceof DeviceError) this.#failure = error;
      failure = httpError(error);
      response = errorResponse(failure);
    }
    response.headers.set("x-request-id", exchange.id);
    response.headers.set("server", "tvllm");
    response.headers.set("x-content-type-options", "nosniff");
    for (const [name, value] of Object.entries(corsHeaders(request, this.#options))) {
      response.headers.set(name, value);
    }
    if (this.#draining) response.headers.set("connection", "close");
    if (failure || !exchange.streams) exchange.close(response.status, failure);
    return response;
  }

  async #respond(request: Request, exchange: Exchange): Promise<Response> {
    const { pathname } = new URL(request.url);
    await checkAccess(request, this.#options);
    const { method } = request;
    if (method === "OPTIONS") return new Response(null, { status: 204 });
    // HEAD gets the headers of GET: the HTTP library sends no body.
    const route = `${method === "HEAD" ? "GET" : method} ${pathname}`;
    const plain = this.#plainRoutes[route];
    if (plain) return plain();
    const handler = this.#routes[route];
    if (!handler) throw this.#noRoute(method, pathname);
    if (this.#draining) throw new HttpError(503, "Cannot answer: the server is shutting down");
    if (this.#failure) throw this.#failure;
    if (!this.#model) {
      throw new HttpError(503, "Cannot answer yet: the model is still loading", { retryAfter: 1 });
    }
    return await handler(this.#model, exchange, request);
  }

  #noRoute(method: string, pathname: string): HttpError {
    const allow = this.#methods(pathname);
    if (allow.length === 0) return new HttpError(404, `Cannot find ${pathname}`);
    return new HttpError(405, `Cannot use ${method} for ${pathname}: use ${allow.join(" or ")}`, {
      allow,
    });
  }

  /** Returns the methods of a path, without OPTIONS; none if there is no such path. */
  #methods(pathname: string): string[] {
    const routes = [...Object.keys(this.#plainRoutes), ...Object.keys(this.#routes)];
    return routes.filter((route) => route.endsWith(` ${pathname}`))
      .map((route) => route.slice(0, route.indexOf(" ")))
      .flatMap((method) => method === "GET" ? ["GET", "HEAD"] : [method]);
  }

  #health(): Response {
    const status = this.#failure
      ? "error"
      : this.#draining
      ? "shutting down"
      : this.#model
      ? "ok"
      : "loading model";
    return Response.json({ status }, { status: status === "ok" ? 200 : 503 });
  }

  #metricsText(): Response {
    return new Response(this.#metrics.text(this.#model?.engine.stats), {
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    });
  }

  #models(model: Model): Response {
    const { name } = this.#options;
    const entry = {
      id: name,
      object: "model",
      created: this.#created,
      owned_by: "tvllm",
      root: name,
      max_model_len: model.contextLength,
    };
    return Response.json({ object: "list", data: [entry] });
  }

  async #completions(model: Model, exchange: Exchange, request: Request): Promise<Response> {
    const fields = await this.#fields(request, completionSchema);
    const options = {
      fields,
      maxTokens: fields.max_tokens ?? DEFAULT_COMPLETION_TOKENS,
      logprobs: fields.logprobs ?? undefined,
      signal: exchange.signal,
    };
    const format = completionFormat(model, fields);
    const answers = withFieldNames({ promptIds: "prompt" }, () => {
      const prompts = completionPrompts(model, fields);
      return this.#start(
        exchange,
        prompts.map((prompt) => () => startAnswer(model, prompt, options)),
      );
    });
    return await this.#reply({ answers, format, fields }, exchange);
  }

  async #chat(model: Model, exchange: Exchange, request: Request): Promise<Response> {
    const fields = await this.#fields(request, chatSchema);
    const { max_completion_tokens, max_tokens, logprobs, top_logprobs } = fields;
    const names = {
      promptIds: "messages",
      ...(max_completion_tokens != null && { maxTokens: "max_completion_tokens" }),
    };
    const work = withFieldNames(names, () => {
      const prompt = chatPrompt(model, fields);
      const options = {
        fields,
        // The default is the room that the prompt leaves in the context.
        maxTokens: max_completion_tokens ?? max_tokens ?? model.contextLength - prompt.ids.length,
        logprobs: logprobs ? top_logprobs ?? 0 : undefined,
        signal: exchange.signal,
      };
      const format = chatFormat(model, fields, prompt);
      const answers = this.#start(exchange, [() => startAnswer(model, prompt, options)]);
      return { answers, format, fields };
    });
    return await this.#reply(work, exchange);
  }

  #reply(work: Pick<Reply, "answers" | "format" | "fields">, exchange: Exchange) {
    const { name, unread } = this.#options;
    return reply({ ...work, model: name, unread }, exchange);
  }

  /** Submits answers if the queue has room for them. They free it when the exchange is over. */
  #start(exchange: Exchange, submits: readonly (() => Answer)[]): Answer[] {
    const leave = this.#admission.enter(submits.length);
    exchange.signal.addEventListener("abort", leave);
    const answers = submits.map((submit) => submit());
    exchange.generates(answers);
    return answers;
  }

  async #fields<T extends { readonly model?: string | null | undefined }>(
    request: Request,
    schema: Parameters<typeof checked<T>>[0],
  ): Promise<T> {
    const body = await readJson(request, this.#options.body);
    refuseUnsupported(body);
    const fields = checked(schema, body);
    const { name } = this.#options;
    if (fields.model != null && fields.model !== name) {
      const asked = JSON.stringify(fields.model.slice(0, 200));
      throw new HttpError(
        404,
        `Cannot find the model ${asked}: this server has ${JSON.stringify(name)}`,
        {
          code: "model_not_found",
          param: "model",
        },
      );
    }
    return fields;
  }

  async #tokenize(model: Model, request: Request): Promise<Response> {
    const body = checked(tokenizeSchema, await readJson(request, this.#options.body));
    const text = body.prompt ?? body.content;
    if (text == null) throw new HttpError(400, "Cannot tokenize: no prompt given");
    // By default vLLM adds BOS, and llama-server does not.
    const bos = body.add_special_tokens ?? body.add_special ?? body.prompt != null;
    const tokens = model.tokenize(text, { special: true, bos });
    return Response.json({ count: tokens.length, max_model_len: model.contextLength, tokens });
  }

  async #detokenize(model: Model, request: Request): Promise<Response> {
    const { tokens } = checked(detokenizeSchema, await readJson(request, this.#options.body));
    const prompt = model.tokenizer.decode(tokens, { special: true });
    return Response.json({ prompt, content: prompt });
  }

  #over(exchange: Exchange, record: ExchangeRecord): void {
    this.#open.delete(exchange);
    if (this.#open.size === 0) { for (const resolve of this.#whenIdle.splice(0)) resolve(); }
    const { path, error } = record;
    if (error?.cause instanceof DeviceError) this.#failure = error.cause;
    this.#metrics.record(record, this.#methods(path).length > 0 ? path : "other");
    // Frequent GET requests for health and metrics would hide the other lines of the log.
    const isFrequent = record.method === "GET" || record.method === "HEAD";
    if (!isFrequent || record.status >= 400) this.#options.log(accessLine(record));
  }
}
