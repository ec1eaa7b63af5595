/** One request while it is served: what is known of its text, and where it lies in the cache. */

import type { SamplingOptions } from "./runner.ts";
import { validateSampling } from "./sampler.ts";
import type { BlockTables } from "./kv_blocks.ts";
import type { CachedBlock } from "./prefix_cache.ts";

/**
 * Why a request ended: it sampled a stop token, it has as many tokens as it may have (its own
 * `maxTokens`, or the context is full), or its caller gave it up.
 */
export type FinishReason = "stop" | "length" | "cancelled";

/** What a caller asks for, in token ids. */
export interface GenerationRequest {
  /** At least one token. */
  readonly promptIds: readonly number[];
  readonly sampling: SamplingOptions;
  /** Tokens to generate at most; the end of the context may come first. */
  readonly maxTokens: number;
  /** Tokens that end the answer; the one that did is its last token. */
  readonly stopIds: readonly number[];
  /** Higher goes first, default 0; equals go in order of arrival. See PRIORITY_PLACES. */
  readonly priority?: number;
  readonly signal?: AbortSignal;
  /** Return each token's log-probability and those of this many most probable tokens. */
  readonly logprobs?: number;
}

/**
 * Places in the queue that one step of priority is worth. Within so many arrivals the order is by
 * priority alone; beyond them even the least urgent request comes first, so none waits for ever.
 */
export const PRIORITY_PLACES = 1024;

/** A request's state. The scheduler writes it; everyone else reads. */
export class Sequence {
  /** The prompt, then the generated tokens that were read back. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** The length at which it ends, prompt included. */
  readonly maxLength: number;
  readonly stopIds: ReadonlySet<number>;
  /** Place in the order of service, lowest first. */
  readonly rank: number;

  /** Tokens in the KV cache once every submitted step has run. */
  computed = 0;
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
  readonly submitted = performance.now();
  readonly times: number[] = [];

  constructor(readonly request: GenerationRequest, arrival: number, contextLength: number) {
    this.tokens = [...request.promptIds];
    this.promptLength = this.tokens.length;
    this.maxLength = Math.min(this.promptLength + request.maxTokens, contextLength);
    this.stopIds = new Set(request.stopIds);
    this.rank = arrival - (request.priority ?? 0) * PRIORITY_PLACES;
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

/** @throws {RangeError} if no engine of this context and vocabulary can serve the request. */
export function checkRequest(
  { promptIds, maxTokens, priority = 0, logprobs = 0, sampling }: GenerationRequest,
  contextLength: number,
  vocabSize: number,
): void {
  const refuse = (reason: string) => {
    throw new RangeError(`Cannot accept the request: ${reason}`);
  };
  if (promptIds.length === 0) refuse("its prompt has no tokens");
  if (promptIds.length >= contextLength) {
    refuse(
      `its prompt of ${promptIds.length} tokens leaves no room for an answer in the context of ` +
        `${contextLength}; shorten it or raise the context size`,
    );
  }
  const wrong = promptIds.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (wrong >= 0) {
    refuse(
      `token ${wrong} of its prompt is ${promptIds[wrong]}, the vocabulary is 0 to ${
        vocabSize - 1
      }`,
    );
  }
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    refuse(`maxTokens is ${maxTokens}, not a whole number from 1 up`);
  }
  if (!Number.isFinite(priority)) refuse(`priority is ${priority}, not a number`);
  if (!Number.isInteger(logprobs) || logprobs < 0) {
    refuse(`logprobs is ${logprobs}, not a whole number from 0 up`);
  }
  validateSampling(sampling, vocabSize);
}
