/** Responders of `generate` and the chat: a model on this machine, or one on a server. */

import type { GenerateOptions, Model } from "../engine/mod.ts";
import type { Answer, AnswerSummary } from "../engine/run/answer.ts";
import type { TokenLogprobs } from "../engine/run/logprobs.ts";
import { DEFAULT_MAX_TOKENS } from "../engine/run/defaults.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";
import { endsInThoughts } from "./thinking.ts";
import { counted } from "./transfer.ts";

/** The next piece of an answer. */
export interface ReplyPiece {
  /** "" while a character is incomplete, or while the text may be the start of a stop string. */
  readonly text: string;
  /** The piece's token, if it is known, with the fields of --jsonl. */
  readonly token?: Readonly<Record<string, unknown>>;
}

/** The summary of an answer that has ended. Times are in ms, as in `AnswerSummary`. */
export interface ReplySummary
  extends Pick<AnswerSummary, "text" | "seed" | "timeToFirst" | "timePerToken" | "total"> {
  /** "error" if a server's answer failed before its end. */
  readonly finish: string;
  /** Why it failed. */
  readonly error?: string;
  /** Number of generated tokens. */
  readonly tokens: number;
  /** With a server: whether it reported `tokens`, or chunks with text were counted instead. */
  readonly counted?: "usage" | "chunks";
  /** The requested maximum of tokens. */
  readonly maxTokens: number;
  /** Tokens of the prompt; null if the server does not report them. */
  readonly promptTokens: number | null;
  /** Tokens of the prompt that were in the prefix cache. */
  readonly cached: number;
  /** Further fields of --json, if they are known: token ids, log-probabilities. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** An answer in progress. Iterate over it once. */
export interface Reply extends AsyncIterable<ReplyPiece> {
  /** Tokens of the prompt, in total and read so far; undefined for a server. */
  readonly prompt: { readonly total: number; read(): number } | undefined;
  /** Whether the answer begins in the model's thoughts. */
  readonly thinks: boolean;
  /** Undefined until the iteration has ended, and if the device failed. */
  readonly summary: ReplySummary | undefined;
}

/** Answers prompts. */
export interface Responder extends AsyncDisposable {
  /** The model's name. */
  readonly model: string;
  /** The device or server that computes the answers, as text. */
  readonly place: string;
  /** The device or server as a field of JSON output, such as `{ device: "…" }`. */
  readonly source: Readonly<Record<string, string>>;
  /** Undefined if the model has none; then answers continue the text. */
  readonly chatTemplate: string | undefined;
  /** In tokens; undefined if a server does not report it. */
  readonly contextLength: number | undefined;
  /** @throws {RequestError} if the prompt or an option is invalid. */
  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions): Reply;
  /** Returns why an answer was cut off; undefined if it reached the requested number of tokens. */
  whyCut(summary: ReplySummary): string | undefined;
}

/** Waits for the end of an answer, and returns its summary. */
export async function completed(reply: Reply): Promise<ReplySummary> {
  for await (const _ of reply);
  return reply.summary!;
}

/** A model on this machine. */
export class ModelResponder implements Responder {
  readonly #model: Model;
  /** Blocks to which the KV cache may grow; later fewer if the device refuses to grow it. */
  readonly #budget: number;

  constructor(model: Model) {
    this.#model = model;
    this.#budget = model.engine.stats.blocks.budget;
  }

  get model(): string {
    return this.#model.config.name;
  }

  get place(): string {
    return this.#model.device.description;
  }

  get source(): { device: string } {
    return { device: this.place };
  }

  get chatTemplate(): string | undefined {
    return this.#model.chatTemplate;
  }

  get contextLength(): number {
    return this.#model.contextLength;
  }

  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions): Reply {
    const { maxTokens = DEFAULT_MAX_TOKENS } = options;
    return new ModelReply(this.#model, this.#model.generate(prompt, options), maxTokens);
  }

  whyCut({ promptTokens, tokens, maxTokens }: ReplySummary): string | undefined {
    if (tokens >= maxTokens) return undefined;
    const { contextLength, config, engine } = this.#model;
    const { budget } = engine.stats.blocks;
    const length = promptTokens! + tokens;
    // The last token is never written to the KV cache.
    if (length > budget * BLOCK_TOKENS) {
      return budget < this.#budget
        ? `the KV cache could not grow after ${counted(tokens, "token")}; ` +
          "free device memory, or use --device cpu"
        : `the KV cache of ${counted(budget * BLOCK_TOKENS, "token")} is full; raise --kv-memory`;
    }
    if (length < contextLength) return undefined;
    const way = contextLength < config.contextLength
      ? `raise --ctx-size, at most ${config.contextLength}`
      : "that is the model's limit";
    return `the context of ${counted(contextLength, "token")} is full; ${way}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#model.close();
  }
}

class ModelReply implements Reply {
  readonly #model: Model;
  readonly #answer: Answer;
  readonly #maxTokens: number;

  constructor(model: Model, answer: Answer, maxTokens: number) {
    this.#model = model;
    this.#answer = answer;
    this.#maxTokens = maxTokens;
  }

  get prompt() {
    const answer = this.#answer;
    return { total: answer.promptIds.length, read: () => answer.promptTokensRead };
  }

  get thinks(): boolean {
    return endsInThoughts(this.#model.tokenizer.decode(this.#answer.promptIds.slice(-8)));
  }

  get summary(): ReplySummary | undefined {
    const { summary, cachedTokens } = this.#answer;
    if (summary === undefined) return undefined;
    const { ids, logprobs, ...rest } = summary;
    return {
      ...rest,
      tokens: ids.length,
      maxTokens: this.#maxTokens,
      cached: cachedTokens,
      details: {
        tokens: ids,
        ...(logprobs && { logprobs: logprobs.map((own, i) => this.#withText(own, ids[i]!)) }),
      },
    };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ReplyPiece> {
    for await (const { token, text } of this.#answer) {
      if (token === undefined) {
        yield { text };
        continue;
      }
      const { id, index, logprobs } = token;
      yield {
        text,
        token: { id, index, ...(logprobs && { logprobs: this.#withText(logprobs, id) }) },
      };
    }
  }

  /** Adds the text of each token to log-probabilities. */
  #withText({ logprob, top }: TokenLogprobs, id: number) {
    const token = (id: number) => this.#model.tokenizer.piece(id);
    return {
      id,
      token: token(id),
      logprob,
      top: top.map(({ id, logprob }) => ({ id, token: token(id), logprob })),
    };
  }
}
