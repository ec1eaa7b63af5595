/** The state of one request while it is served: its tokens and its place in the KV cache. */

import { RequestError } from "../errors.ts";
import { checkSignal } from "./check_signal.ts";
import { completeSampling, DEFAULT_MAX_TOKENS } from "./defaults.ts";
import type { BlockTables } from "./kv_blocks.ts";
import type { CachedBlock } from "./prefix_cache.ts";
import { MOST_BIASES, type SamplingOptions } from "./runner.ts";
import { validateSampling } from "./sampler.ts";
import { plural } from "../plural.ts";

/**
 * Why a request ended. "stop": it sampled a stop token. "length": it reached its `maxTokens`, or
 * the context or the KV cache is full. "cancelled": its caller cancelled it.
 */
export type FinishReason = "stop" | "length" | "cancelled";

/** A caller's request, in token ids. */
export interface GenerationRequest {
  /** At least one token. */
  readonly promptIds: readonly number[];
  /** How tokens are chosen; omitted options are as in `DEFAULT_SAMPLING`. */
  readonly sampling?: Partial<SamplingOptions>;
  /** Maximum number of tokens to generate, default 512; the context or KV cache may end it before. */
  readonly maxTokens?: number;
  /** Minimum number of tokens to generate, default 0; until then, no stop token is chosen. */
  readonly minTokens?: number;
  /** Tokens that end the answer, default none. A stop token is the answer's last token. */
  readonly stopIds?: readonly number[];
  /** Subtracted from the logit of each token that was generated before; −2 to 2, default 0. */
  readonly presencePenalty?: number;
  /** Subtracted once for each time that the token was generated before; −2 to 2, default 0. */
  readonly frequencyPenalty?: number;
  /** Cancels the request when it is aborted. */
  readonly signal?: AbortSignal;
  /** Return the log-probabilities of each token and of this many most probable tokens. */
  readonly logprobs?: number;
}

/** Limits of a request: tokens of the longest sequence, and size of the vocabulary. */
export interface RequestLimits {
  readonly contextLength: number;
  readonly vocabSize: number;
}

/** A request's state. Only the engine's loop and its scheduler write it. */
export class Sequence {
  /** The prompt, then the generated tokens that have been read back. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** The length at which it ends, prompt included; lowered to what the KV cache has room for. */
  maxLength: number;
  /** The length, prompt included, below which no stop token is sampled. */
  readonly minLength: number;
  /** It has a presence or frequency penalty: sampling needs all earlier tokens to be read back. */
  readonly penalized: boolean;
  readonly sampling: SamplingOptions;
  readonly stopIds: ReadonlySet<number>;

  /** Tokens in the KV cache once every submitted step has run. */
  computed = 0;
  /** Tokens in the KV cache according to the steps read so far: the progress of a long prompt. */
  entered = 0;
  /** Tokens sampled by submitted steps that have not been read yet. */
  pending = 0;
  /** The runner's row, or -1 while waiting. */
  slot = -1;
  /** No step of this sequence has been submitted in its slot yet. */
  newInSlot = true;
  blocks: BlockTables = { tables: [], givenBack: [] };
  /** Number of full blocks offered to the prefix cache, and the cache's entry for their tokens. */
  published = 0;
  prefix: CachedBlock | undefined;
  preemptions = 0;

  finish: FinishReason | undefined;
  /** Tokens of the prompt that were in the prefix cache when the request was first admitted. */
  cached = 0;
  /** `performance.now()` at submit, at its first step, and when each generated token was read. */
  readonly submitted: number = performance.now();
  started: number | undefined;
  readonly times: number[] = [];

  /**
   * @param arrival its place in the order of arrival, in which requests are served
   * @throws {RequestError} if the request is invalid or cannot be served within these limits.
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

  /** Number of tokens, including those that have not been read back. */
  get length(): number {
    return this.tokens.length + this.pending;
  }

  /** Tokens that are still to be computed; the next token is sampled after the last of them. */
  get left(): number {
    return this.length - this.computed;
  }

  /** Lowers `maxLength`. Returns true if it then has all its tokens and none are pending. */
  shorten(maxLength: number): boolean {
    this.maxLength = Math.min(this.maxLength, maxLength);
    return this.pending === 0 && this.tokens.length >= this.maxLength;
  }

  /** All its tokens have been sampled, so there is nothing more to schedule. */
  get complete(): boolean {
    return this.length >= this.maxLength;
  }
}

const MORE_MEMORY = "give the KV cache more memory (kvMemory, --kv-memory)";

function checkRequest(
  request: GenerationRequest,
  { contextLength, vocabSize }: RequestLimits,
): void {
  const { promptIds, maxTokens = DEFAULT_MAX_TOKENS, minTokens = 0, logprobs = 0 } = request;
  const refuse = (option: string, reason: string) => {
    throw new RequestError(`Cannot accept the request: ${reason}`, { option });
  };
  checkSignal(request.signal, "Cannot accept the request");
  if (promptIds.length === 0) refuse("promptIds", "its prompt has no tokens");
  if (promptIds.length >= contextLength) throw promptTooLong(promptIds.length, contextLength);
  checkIds(promptIds, vocabSize);
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    refuse("maxTokens", `maxTokens is ${maxTokens}, not a whole number of at least 1`);
  }
  if (!Number.isInteger(minTokens) || minTokens < 0 || minTokens > maxTokens) {
    refuse(
      "minTokens",
      `minTokens is ${minTokens}, not a whole number from 0 to maxTokens (${maxTokens})`,
    );
  }
  const biases = (request.sampling?.logitBias?.size ?? 0) + (request.stopIds?.length ?? 0);
  if (minTokens > 0 && biases > MOST_BIASES) {
    refuse(
      "logitBias",
      `with minTokens, it can have at most ${MOST_BIASES} logit biases and stop tokens together, ` +
        `but has ${biases}`,
    );
  }
  for (const name of ["presencePenalty", "frequencyPenalty"] as const) {
    const penalty = request[name] ?? 0;
    if (!(Math.abs(penalty) <= 2)) {
      refuse(name, `${name} is ${penalty}, not a number from -2 to 2`);
    }
  }
  if (!Number.isInteger(logprobs) || logprobs < 0) {
    refuse("logprobs", `logprobs is ${logprobs}, not a whole number of at least 0`);
  }
}

/** @throws {RequestError} if an id is not in the vocabulary. */
export function checkIds(ids: readonly number[], vocabSize: number): void {
  const wrong = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (wrong < 0) return;
  throw new RequestError(
    `Cannot accept the token ids: the id at index ${wrong} is ${ids[wrong]}; valid ids are 0 to ${
      vocabSize - 1
    }`,
    { option: "promptIds" },
  );
}

/** Returns the error for an answer that does not fit into the context after its prompt. */
export function answerTooLong(
  { promptTokens, maxTokens }: { readonly promptTokens: number; readonly maxTokens: number },
  contextLength: number,
): RequestError {
  return new RequestError(
    `Cannot generate ${maxTokens} ${
      plural(maxTokens, "token")
    } after a prompt of ${promptTokens}: the context has room for ${contextLength}; request fewer tokens`,
    { kind: "too-long" },
  );
}

/** Returns the error for a prompt that is longer than the KV cache's `room` in tokens. */
export function cacheTooSmall(tokens: number, room: number): RequestError {
  return new RequestError(
    `Cannot answer a prompt of ${tokens} ${
      plural(tokens, "token")
    }: the KV cache has room for ${room}; shorten it, or ${MORE_MEMORY}`,
    { kind: "too-long", option: "promptIds" },
  );
}

/**
 * Checks that the KV cache did not shorten a request that must have all its tokens.
 *
 * @throws {RequestError} if it did.
 */
export function checkNotShortened(
  { promptLength, maxLength, request: { maxTokens = DEFAULT_MAX_TOKENS } }: Sequence,
  contextLength: number,
): void {
  if (maxLength >= Math.min(promptLength + maxTokens, contextLength)) return;
  throw new RequestError(
    `Cannot generate ${maxTokens} ${
      plural(maxTokens, "token")
    } after a prompt of ${promptLength}: the KV cache has room for ${
      maxLength - 1
    }; request fewer tokens, or ${MORE_MEMORY}`,
    { kind: "too-long" },
  );
}

/**
 * Returns the error for a prompt that leaves no room for an answer.
 *
 * @param largest the largest context that the model can be loaded with
 */
export function promptTooLong(
  tokens: number,
  contextLength: number,
  largest: number = contextLength,
): RequestError {
  const ways = largest > contextLength
    ? `shorten it, or raise the context size (contextLength, --ctx-size) to at most ${largest}`
    : "shorten it";
  return new RequestError(
    `Cannot answer a prompt of ${tokens} ${
      plural(tokens, "token")
    }: the context has room for ${contextLength}, at least one of them for the answer; ${ways}`,
    { kind: "too-long", option: "promptIds" },
  );
}
