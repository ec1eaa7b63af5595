/** One request while it is served: what is known of its text, and where it lies in the cache. */

import { RequestError } from "../errors.ts";
import { completeSampling, DEFAULT_MAX_TOKENS } from "./defaults.ts";
import type { BlockTables } from "./kv_blocks.ts";
import type { CachedBlock } from "./prefix_cache.ts";
import { MOST_BIASES, type SamplingOptions } from "./runner.ts";
import { validateSampling } from "./sampler.ts";
import { plural } from "../plural.ts";

/**
 * Why a request ended: it sampled a stop token, it has as many tokens as it may have (its own
 * `maxTokens`, or the context is full, or the KV cache that could not grow), or its caller gave it up.
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
  /** Tokens to generate at least: stop tokens are not chosen before; default 0. */
  readonly minTokens?: number;
  /** Tokens that end the answer, by default none; the one that did is its last token. */
  readonly stopIds?: readonly number[];
  /** Taken off the logit of each token that was generated already, −2 to 2; default 0. */
  readonly presencePenalty?: number;
  /** Taken off that for each time that the token was generated, −2 to 2; default 0. */
  readonly frequencyPenalty?: number;
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
  /** The length at which it ends, prompt included; less where the KV cache cannot grow to it. */
  maxLength: number;
  /** The length before which it does not end by a stop token. */
  readonly minLength: number;
  /** The choice of each token depends on all before it, which must have been read back. */
  readonly penalized: boolean;
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
  /** Tokens of the prompt that the prefix cache had when it was first admitted. */
  cached = 0;
  /** `performance.now()` at submit, when its first step was, and when each generated token was read. */
  readonly submitted: number = performance.now();
  started: number | undefined;
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
    const { promptIds, maxTokens = DEFAULT_MAX_TOKENS, minTokens = 0, stopIds = [] } = request;
    this.sampling = completeSampling(request.sampling);
    checkRequest(request, limits);
    validateSampling(this.sampling, limits.vocabSize);
    this.tokens = [...promptIds];
    this.promptLength = this.tokens.length;
    this.maxLength = Math.min(this.promptLength + maxTokens, limits.contextLength);
    this.minLength = this.promptLength + minTokens;
    this.penalized = Boolean(request.presencePenalty || request.frequencyPenalty);
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

  /** Lowers `maxLength`; true if it has all its tokens by that, and none is awaited. */
  shorten(maxLength: number): boolean {
    this.maxLength = Math.min(this.maxLength, maxLength);
    return this.pending === 0 && this.tokens.length >= this.maxLength;
  }

  /** All it may have is sampled: nothing more to schedule. */
  get complete(): boolean {
    return this.length >= this.maxLength;
  }
}

function checkRequest(
  request: GenerationRequest,
  { contextLength, vocabSize }: RequestLimits,
): void {
  const { promptIds, maxTokens = DEFAULT_MAX_TOKENS, minTokens = 0, logprobs = 0 } = request;
  const refuse = (reason: string) => {
    throw new RequestError(`Cannot accept the request: ${reason}`);
  };
  if (promptIds.length === 0) refuse("its prompt has no tokens");
  if (promptIds.length >= contextLength) throw promptTooLong(promptIds.length, contextLength);
  checkIds(promptIds, vocabSize);
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    refuse(`maxTokens is ${maxTokens}, not a whole number of at least 1`);
  }
  if (!Number.isInteger(minTokens) || minTokens < 0 || minTokens > maxTokens) {
    refuse(`minTokens is ${minTokens}, not a whole number from 0 to maxTokens, ${maxTokens}`);
  }
  const biases = (request.sampling?.logitBias?.size ?? 0) + (request.stopIds?.length ?? 0);
  if (minTokens > 0 && biases > MOST_BIASES) {
    refuse(`with minTokens its logit biases and stop tokens may be ${MOST_BIASES}, not ${biases}`);
  }
  for (const name of ["presencePenalty", "frequencyPenalty"] as const) {
    const penalty = request[name] ?? 0;
    if (!(Math.abs(penalty) <= 2)) refuse(`${name} is ${penalty}, not within -2 and 2`);
  }
  if (!Number.isInteger(logprobs) || logprobs < 0) {
    refuse(`logprobs is ${logprobs}, not a whole number of at least 0`);
  }
}

/** @throws {RequestError} if an id is not one of the vocabulary. */
export function checkIds(ids: readonly number[], vocabSize: number): void {
  const wrong = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (wrong < 0) return;
  throw new RequestError(
    `Cannot accept the token ids: number ${wrong} is ${ids[wrong]}, the vocabulary has ids 0 to ${
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
    `Cannot generate ${maxTokens} ${
      plural(maxTokens, "token")
    } after a prompt of ${promptTokens}: the context has room for ${contextLength}; ask for fewer`,
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
    `Cannot answer a prompt of ${tokens} ${
      plural(tokens, "token")
    }: the context has room for ${contextLength}; ${ways}`,
    { kind: "too-long" },
  );
}
