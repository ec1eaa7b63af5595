/** Who answers in `generate` and in the chat: a model on this machine, or one of a server. */

import type { GenerateOptions, Model } from "../engine/mod.ts";
import type { Answer, AnswerSummary } from "../engine/run/answer.ts";
import type { TokenLogprobs } from "../engine/run/logprobs.ts";
import { DEFAULT_MAX_TOKENS } from "../engine/run/defaults.ts";
import { BLOCK_TOKENS } from "../engine/run/runner.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";
import { endsInThoughts } from "./thinking.ts";
import { counted } from "./transfer.ts";

/** What came next. */
export interface ReplyPiece {
  /** "" while a character, or what may be a stop string, is incomplete. */
  readonly text: string;
  /** The token that it came with, where that is known; its fields are those of --jsonl. */
  readonly token?: Readonly<Record<string, unknown>>;
}

/** An answer that has ended. Times in ms, as in `AnswerSummary`. */
export interface ReplySummary
  extends Pick<AnswerSummary, "text" | "seed" | "timeToFirst" | "timePerToken" | "total"> {
  readonly finish: string;
  /** Generated tokens, and how they were counted, where that may be in doubt. */
  readonly tokens: number;
  readonly counted?: "usage" | "chunks";
  /** The most that were asked for. */
  readonly maxTokens: number;
  /** Null where the server does not tell. */
  readonly promptTokens: number | null;
  /** Of those, the ones that the prefix cache had. */
  readonly cached: number;
  /** What --json adds, as far as it is known: ids, log-probabilities. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** An answer that is coming; iterate it once. */
export interface Reply extends AsyncIterable<ReplyPiece> {
  /** How far the prompt is read, of a model that tells. */
  readonly prompt: { readonly total: number; read(): number } | undefined;
  /** The answer begins in the model's thoughts. */
  readonly thinks: boolean;
  /** Undefined until the iteration has ended. */
  readonly summary: ReplySummary | undefined;
}

/** Answers prompts. */
export interface Responder extends AsyncDisposable {
  /** What the model calls itself. */
  readonly model: string;
  /** What computes, for people; `source` says it in JSON. */
  readonly place: string;
  readonly source: Readonly<Record<string, string>>;
  /** Undefined: it has none, and continues a text. */
  readonly chatTemplate: string | undefined;
  /** Undefined where a server does not tell. */
  readonly contextLength: number | undefined;
  /**
   * @throws {RequestError} if the prompt or an option cannot be used.
   */
  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions): Reply;
  /** Why an answer ended at its length, if not for the number of tokens that were asked for. */
  whyCut(summary: ReplySummary): string | undefined;
}

/** The whole of an answer, for who shows nothing before. */
export async function completed(reply: Reply): Promise<ReplySummary> {
  for await (const _ of reply);
  return reply.summary!;
}

/** A model on this machine. */
export class ModelResponder implements Responder {
  readonly #model: Model;

  constructor(model: Model) {
    this.#model = model;
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

  whyCut({ promptTokens, tokens }: ReplySummary): string | undefined {
    const { contextLength, config, engine } = this.#model;
    const length = promptTokens! + tokens;
    // The last token never enters the cache.
    if (length > engine.stats.blocks.budget * BLOCK_TOKENS) {
      return `the KV cache could not grow after ${counted(tokens, "token")}; ` +
        "free device memory, or use --device cpu";
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

  /** Log-probabilities with the text of each token, which ids alone do not tell. */
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
