/** `--endpoint URL` for `generate` and the chat: a responder that sends requests to a server. */

import type { Endpoint, RequestBody } from "../client/endpoint.ts";
import { EndpointError, RefusedError } from "../client/errors.ts";
import { Slots } from "../client/slots.ts";
import { readStream, type StreamPart, type Usage } from "../client/stream.ts";
import type { TokenLogprob } from "../client/token_logprobs.ts";
import type { GenerateOptions } from "../engine/mod.ts";
import { DEFAULT_MAX_TOKENS } from "../engine/run/defaults.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";
import type { Reply, ReplyPiece, ReplySummary, Responder } from "./responder.ts";

/** A model on a server. */
export class RemoteResponder implements Responder {
  readonly #endpoint: Endpoint;
  /** Limits the number of simultaneous requests. */
  readonly #slots: Slots;

  constructor(endpoint: Endpoint, concurrency: number) {
    this.#endpoint = endpoint;
    this.#slots = new Slots(concurrency);
  }

  get model(): string {
    return this.#endpoint.model;
  }

  get place(): string {
    return this.#endpoint.url;
  }

  get source(): { endpoint: string } {
    return { endpoint: this.#endpoint.url };
  }

  /** Not undefined, because the server applies the template; without one, it joins the messages. */
  get chatTemplate(): string {
    return "";
  }

  get contextLength(): number | undefined {
    return this.#endpoint.facts.contextLength;
  }

  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions): Reply {
    return new RemoteReply(this.#endpoint, this.#slots, {
      ...this.#request(prompt, options),
      seed: options.seed!,
      maxTokens: options.maxTokens ?? DEFAULT_MAX_TOKENS,
      signal: options.signal,
    });
  }

  whyCut({ tokens, maxTokens }: ReplySummary): string | undefined {
    return tokens >= maxTokens
      ? undefined
      : "it reached the server's limit or the end of its context";
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #request(
    prompt: string | readonly ChatMessage[],
    options: GenerateOptions,
  ): { path: string; body: RequestBody } {
    const { system, raw, templateVariables, logprobs } = options;
    const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    const body = {
      ...bodyOf(options),
      stream: true,
      stream_options: { include_usage: true },
    };
    if (raw) {
      const text = messages.map(({ content }) => content).join("\n\n");
      return { path: "/v1/completions", body: { ...body, prompt: text, logprobs } };
    }
    return {
      path: "/v1/chat/completions",
      body: {
        ...body,
        messages: system === undefined
          ? messages
          : [{ role: "system", content: system }, ...messages],
        ...(templateVariables && { chat_template_kwargs: templateVariables }),
        ...(logprobs !== undefined && { logprobs: true, top_logprobs: logprobs }),
      },
    };
  }
}

/**
 * Returns the fields that both routes share. They include the default values of the options,
 * because a server's own defaults may differ.
 */
function bodyOf(options: GenerateOptions): RequestBody {
  const { topK, repeatPenalty = 1, presencePenalty, frequencyPenalty, logitBias, stop } = options;
  return {
    max_tokens: options.maxTokens ?? DEFAULT_MAX_TOKENS,
    temperature: options.temperature,
    top_k: topK,
    top_p: options.topP,
    min_p: options.minP,
    seed: options.seed,
    // vLLM and llama-server have different names for it.
    ...(repeatPenalty !== 1 && {
      repetition_penalty: repeatPenalty,
      repeat_penalty: repeatPenalty,
    }),
    ...(presencePenalty !== undefined && { presence_penalty: presencePenalty }),
    ...(frequencyPenalty !== undefined && { frequency_penalty: frequencyPenalty }),
    ...(logitBias && { logit_bias: Object.fromEntries(logitBias) }),
    ...(stop !== undefined && { stop }),
  };
}

interface RemoteRequest {
  readonly path: string;
  readonly body: RequestBody;
  readonly seed: number;
  readonly maxTokens: number;
  readonly signal: AbortSignal | undefined;
}

class RemoteReply implements Reply {
  readonly prompt = undefined;
  readonly thinks = false;
  readonly #endpoint: Endpoint;
  readonly #slots: Slots;
  readonly #request: RemoteRequest;
  readonly #texts: string[] = [];
  /** Arrival times of the texts that are not empty, in ms. */
  readonly #times: number[] = [];
  readonly #logprobs: TokenLogprob[] = [];
  #usage: Usage | undefined;
  #submitted = 0;
  #summary: ReplySummary | undefined;

  constructor(endpoint: Endpoint, slots: Slots, request: RemoteRequest) {
    this.#endpoint = endpoint;
    this.#slots = slots;
    this.#request = request;
  }

  get summary(): ReplySummary | undefined {
    return this.#summary;
  }

  /** @throws {EndpointError} if the server rejects the request, fails, or ends the answer early. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReplyPiece> {
    const { signal } = this.#request;
    let finish = "cancelled";
    try {
      using _slot = await this.#slots.take();
      signal?.throwIfAborted();
      const marks = new ReasoningMarks();
      for await (const part of this.#parts()) {
        this.#usage = part.usage ?? this.#usage;
        finish = part.finish ?? finish;
        const text = marks.put(part);
        // A part may contain several tokens: its text is attached to the last one.
        for (const logprobs of part.logprobs.slice(0, -1)) yield this.#piece("", logprobs);
        const last = part.logprobs.at(-1);
        if (text === "" && last === undefined) continue;
        this.#texts.push(text);
        if (text !== "") this.#times.push(part.at);
        yield this.#piece(text, last);
      }
      const end = marks.end();
      if (end !== "") yield { text: end };
      this.#texts.push(end);
      if (finish === "cancelled") finish = "stop";
    } catch (error) {
      if (!signal?.aborted) {
        this.#summary = { ...this.#summarize("error"), error: (error as Error).message };
        throw error;
      }
      finish = "cancelled";
    }
    this.#summary = this.#summarize(finish);
  }

  #piece(text: string, logprobs: TokenLogprob | undefined): ReplyPiece {
    if (logprobs === undefined) return { text };
    this.#logprobs.push(logprobs);
    return { text, token: { index: this.#logprobs.length - 1, logprobs } };
  }

  async *#parts(): AsyncGenerator<StreamPart> {
    const { path, body, signal } = this.#request;
    const { url } = this.#endpoint;
    this.#submitted = performance.now();
    try {
      const response = await this.#endpoint.post(path, body, signal);
      yield* readStream(response, { url, signal });
    } catch (error) {
      if (!(error instanceof RefusedError && error.isMissingRoute)) throw error;
      throw new EndpointError(
        `${error.message}; ${
          path.includes("chat") ? "add --raw to request a completion" : "leave out --raw"
        }`,
        { cause: error },
      );
    }
  }

  #summarize(finish: string): ReplySummary {
    const submitted = this.#submitted;
    const times = this.#times;
    const [first = submitted, last = submitted] = [times[0], times.at(-1)];
    const tokens = this.#usage?.answer ?? times.length;
    return {
      text: this.#texts.join(""),
      seed: this.#request.seed,
      maxTokens: this.#request.maxTokens,
      timeToFirst: first - submitted,
      timePerToken: tokens > 1 && last > first ? (last - first) / (tokens - 1) : null,
      total: last - submitted,
      finish,
      tokens,
      counted: this.#usage ? "usage" : "chunks",
      promptTokens: this.#usage?.prompt ?? null,
      cached: this.#usage?.cached ?? 0,
      details: this.#logprobs.length > 0 ? { logprobs: this.#logprobs } : {},
    };
  }
}

/** Encloses reasoning, which the server sends separately, in the marks that models use for it. */
class ReasoningMarks {
  #inside = false;

  put({ reasoning, text }: StreamPart): string {
    let out = "";
    if (reasoning !== "") {
      out += (this.#inside ? "" : "<think>\n") + reasoning;
      this.#inside = true;
    }
    if (text !== "") out += this.end() + text;
    return out;
  }

  /** Returns the end mark if reasoning is open, else "". */
  end(): string {
    const end = this.#inside ? "\n</think>\n\n" : "";
    this.#inside = false;
    return end;
  }
}
