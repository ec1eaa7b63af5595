/** One request while it is served: what is known of its text, and where it lies in the cache. */

import { RequestError } from "../errors.ts";
import { completeSampling, DEFAULT_MAX_TOKENS } from "./defaults.ts";
import type { BlockTables } from "./kv_blocks.ts";
import type { CachedBlock } from "./prefix_cache.ts";
import type { SamplingOptions } from "./runner.ts";
import { validateSampling } from "./sampler.ts";

/**
 * Why a request ended: it sampled a stop token, it has as many tokens as it may have (its own
 * `maxTokens`, or the context is full), or its caller gave it up.
 */
export type FinishReason = "stop" | "length" | "cancelled";

/** What a caller asks for, in token ids. */
export interface GenerationRequest {
  /** At least one token. */
  readonly promptIds: readonly number[];
  /** How tokens are chosen; what is left out is as in `DEFAULT_SAMPLING`. */
  readonly sampling?: Partial<SamplingOptions>;
  /** Tokens to generate at most, by default 512; the end of the context may come first. */
  readonly maxTokens?: number;
  /** Tokens that end the answer, by default none; the one that did is its last token. */
  readonly stopIds?: readonly number[];
  /** Cancels the request when it is aborted. */
  readonly signal?: AbortSignal;
  /** Return each token's log-probability and those of this many most probable tokens. */
  readonly logprobs?: number;
}

/** What serves a request: the longest sequence in tokens, and how many token ids there are. */
export interface RequestLimits {
  readonly contextLength: number;
  readonly vocabSize: number;
}

/** A request's state. The scheduler writes it; everyone else reads. */
export class Sequence {
  /** The prompt, then the generated tokens that were read back. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** The length at which it ends, prompt included. */
  readonly maxLength: number;
  readonly sampling: SamplingOptions;
  readonly stopIds: ReadonlySet<number>;

  /** Tokens in the KV cache once every submitted step has run. */
  computed = 0;
  /** Tokens in the KV cache as far as steps were read, which tells how far a long prompt is. */
  entered = 0;
  /** Tokens sampled by submitted steps that were not read yet. */
  pending = 0;
  /** The device's row, or -1 while waiting. */
  slot = -1;
  /** The slot does not know this sequence yet. */
  newInSlot = true;
  blocks: BlockTables = { tables: [], givenBack: [] };
  /** How many blocks of the table the prefix cache has seen, and what stands for them there. */
  published = 0;
  prefix: CachedBlock | undefined;
  preemptions = 0;

  finish: FinishReason | undefined;
  /** `performance.now()` at submit, and when each generated token was read. */
  readonly submitted: number = performance.now();
  readonly times: number[] = [];

  /**
   * @param arrival its place in the order of service
   * @throws {RequestError} if nothing within these limits can serve the request.
   */
  constructor(
    readonly request: GenerationRequest,
    readonly arrival: number,
    limits: RequestLimits,
  ) {
    const { promptIds, maxTokens = DEFAULT_MAX_TOKENS, stopIds = [] } = request;
    this.sampling = completeSampling(request.sampling);
    checkRequest(request, limits);
    validateSampling(this.sampling, limits.vocabSize);
    this.tokens = [...promptIds];
    this.promptLength = this.tokens.length;
    this.maxLength = Math.min(this.promptLength + maxTokens, limits.contextLength);
    this.stopIds = new Set(stopIds);
  }

  /** Tokens it has, whether or not they were read back. */
  get length(): number {
    return this.tokens.length + this.pending;
  }

  /** Tokens that have yet to enter; after the last of them the next one is sampled. */
  get left(): number {
    return this.length - this.computed;
  }

  /** All it may have is sampled: nothing more to schedule. */
  get complete(): boolean {
    return this.length >= this.maxLength;
  }
}

function checkRequest(
  { promptIds, maxTokens = DEFAULT_MAX_TOKENS, logprobs = 0 }: GenerationRequest,
  { contextLength, vocabSize }: RequestLimits,
): void {
  const refuse = (reason: string) => {
    throw new RequestError(`Cannot accept the request: ${reason}`);
  };
  if (promptIds.length === 0) refuse("its prompt has no tokens");
  if (promptIds.length >= contextLength) throw promptTooLong(promptIds.length, contextLength);
  checkIds(promptIds, vocabSize);
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    refuse(`maxTokens is ${maxTokens}, not a whole number from 1 up`);
  }
  if (!Number.isInteger(logprobs) || logprobs < 0) {
    refuse(`logprobs is ${logprobs}, not a whole number from 0 up`);
  }
}

/** @throws {RequestError} if an id is not one of the vocabulary. */
export function checkIds(ids: readonly number[], vocabSize: number): void {
  const wrong = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (wrong < 0) return;
  throw new RequestError(
    `Cannot accept the token ids: number ${wrong} is ${ids[wrong]}, the vocabulary is 0 to ${
      vocabSize - 1
    }`,
  );
}

/** What is said of an answer that does not fit behind its prompt. */
export function answerTooLong(
  { promptTokens, maxTokens }: { readonly promptTokens: number; readonly maxTokens: number },
  contextLength: number,
): RequestError {
  return new RequestError(
    `Cannot generate ${maxTokens} tokens after a prompt of ${promptTokens}: the context has room for ${contextLength}; ask for fewer`,
    { kind: "too-long" },
  );
}

/**
 * What is said of a prompt that leaves no room for an answer.
 *
 * @param largest the largest context that the model can be loaded with
 */
export function promptTooLong(
  tokens: number,
  contextLength: number,
  largest: number = contextLength,
): RequestError {
  const ways = largest > contextLength
    ? `shorten it, or raise the context size (contextLength, --ctx-size), at most ${largest}`
    : "shorten it";
  return new RequestError(
    `Cannot answer a prompt of ${tokens} tokens: the context has room for ${contextLength}; ${ways}`,
    { kind: "too-long" },
  );
}
