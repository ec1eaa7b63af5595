/** The serving loop: schedule → run → postprocess, over any ModelRunner. Token ids only. */

import { DeviceError, RequestError } from "../errors.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { recurrentOf } from "../model/mixers.ts";
import type { BlockStats } from "./block_manager.ts";
import { EventLoop } from "./event_loop.ts";
import { tokenLogprobs } from "./logprobs.ts";
import { KvBlocks } from "./kv_blocks.ts";
import { type Batch, BLOCK_TOKENS, type ModelRunner, type PendingStep } from "./runner.ts";
import { type ScoreOptions, scoreTokens, scoringChunk, type TokenScores } from "./perplexity.ts";
import type { PrefixStats } from "./prefix_cache.ts";
import { type Plan, Scheduler } from "./scheduler.ts";
import { checkIds, type FinishReason, type GenerationRequest, type Sequence } from "./sequence.ts";
import { TokenStream } from "./token_stream.ts";
import { plural } from "../plural.ts";

/**
 * What is kept from one step to the next; default all of it. What is not kept costs time, and changes
 * no token: so it is measured what keeping it is worth.
 */
export interface Kept {
  /** The keys and values of a sequence: without them, all its tokens are computed for each new one. */
  readonly keys?: boolean;
  /**
   * The weights as kernels read them. Without them, each step reads the model's file and lays out
   * anew what that stores.
   */
  readonly weights?: boolean;
  /**
   * The buffers between kernels. Without them, a step on a GPU makes its own and binds them; on the
   * CPU, whose memory is one, it clears them and writes its list of operations anew.
   */
  readonly buffers?: boolean;
}

/** How an engine serves; every option has a default. */
export interface EngineOptions {
  /** Tokens that may enter in one step; default and most: what the runner takes. */
  readonly maxBatchTokens?: number;
  /**
   * Decode steps to chain on the device where all sequences decode, default 1, at most 8. Saves a
   * readback a token; tokens come in bursts, and up to twice as many are computed past a stop token.
   */
  readonly steps?: number;
  /**
   * Blocks kept for later requests when no request uses them; default all, 0 shares nothing. Of models
   * with recurrent layers nothing is shared: every request computes all tokens of its prompt.
   */
  readonly prefixCacheBlocks?: number;
  /** Longest sequence, prompt included; default and most: what the runner takes. */
  readonly contextLength?: number;
  /** Blocks that the KV cache may grow to, by group of layers; default what the runner has. */
  readonly maxBlocks?: readonly number[];
  /** What is kept from one step to the next; default all of it. */
  readonly keep?: Kept;
}

/** A text that waits to be scored. */
interface ScoreJob {
  readonly run: () => Promise<void>;
  readonly fail: (error: unknown) => void;
}

/** What `generate` returns for each request. */
export interface Generation {
  /** The generated tokens, a stop token included. */
  readonly ids: readonly number[];
  /** Why it ended. */
  readonly finish: FinishReason;
  /** `performance.now()` at submit, and when each token was read from the device. */
  readonly timings: { readonly submitted: number; readonly tokens: readonly number[] };
}

/** What an engine has done since it was made, and what it is doing. */
export interface EngineStats {
  /** Requests that wait for room. */
  readonly waiting: number;
  /** Requests that are being served. */
  readonly running: number;
  /** Steps of the device; decode steps chained on it count each. */
  readonly steps: number;
  /** Prompt tokens computed; those of a preempted request again. */
  readonly prefillTokens: number;
  /** Tokens read from the device. */
  readonly generatedTokens: number;
  /** Times that a running request had to step back for want of room. */
  readonly preemptions: number;
  /** The KV cache of the group of layers that keeps the most positions. */
  readonly blocks: BlockStats;
  /** The KV cache of each group. */
  readonly kvGroups: readonly BlockStats[];
  /** The prefixes that requests share. */
  readonly prefix: Readonly<PrefixStats>;
}

/**
 * Serves any number of requests at once, in token ids. It borrows the runner: whoever made that
 * destroys it, after `stop()`.
 *
 * ```ts
 * import { load } from "@tvllm/tvllm";
 *
 * await using model = await load("model.gguf");
 * const { ids: promptIds } = model.encodePrompt("Once upon a time");
 * for await (const { id } of model.engine.submit({ promptIds, maxTokens: 16 })) console.log(id);
 * console.log(model.engine.stats.prefillTokens, "prompt tokens computed");
 * ```
 */
export class Engine {
  readonly #runner: ModelRunner;
  readonly #scheduler: Scheduler;
  readonly #streams = new Map<Sequence, TokenStream>();
  /** Texts that wait to be scored. */
  readonly #scoring: ScoreJob[] = [];
  readonly #stopping = new AbortController();
  readonly #anew: Batch["anew"];
  #loop: Promise<void> | undefined;
  /** Set when no more requests are taken: stopped, or broken. */
  #closed: Error | undefined;
  #steps = 0;
  #prefillTokens = 0;
  #generatedTokens = 0;

  /** Serves on `runner`, whose cache it takes for its own: let it have no other engine. */
  constructor(runner: ModelRunner, options: EngineOptions = {}) {
    const { limits, config } = runner;
    // The scheduler checks the others, within what the runner takes.
    const keep = options.prefixCacheBlocks ?? Infinity;
    if (!(keep === Infinity || (Number.isSafeInteger(keep) && keep >= 0))) {
      throw new RequestError(
        `Cannot make an engine: prefixCacheBlocks is ${keep}, not a whole number of at least 0`,
      );
    }
    const groups = kvGroups(config).map(({ window }, group) => {
      const blocks = limits.blocks[group]!;
      const most = options.maxBlocks?.[group] ?? blocks;
      return {
        ...(window !== undefined && { window }),
        blocks,
        budget: runner.growBlocks ? most : Math.min(most, blocks),
      };
    });
    const { keys = true, weights = true, buffers = true } = options.keep ?? {};
    // A prefix is of no use without the states after it, which nothing keeps.
    const share = keep > 0 && keys && recurrentOf(config.layers).length === 0;
    const blocks = new KvBlocks(groups, { share, keep });
    this.#runner = runner;
    this.#anew = weights && buffers ? undefined : { weights: !weights, buffers: !buffers };
    this.#scheduler = new Scheduler(blocks, {
      maxBatchTokens: Math.min(options.maxBatchTokens ?? Infinity, limits.maxBatchTokens),
      maxSequences: limits.maxSequences,
      contextLength: Math.min(options.contextLength ?? Infinity, config.contextLength),
      vocabSize: config.vocabSize,
      keepKeys: keys,
      ...(options.steps !== undefined && { steps: options.steps }),
    });
  }

  /**
   * Queues a request, which starts at once, read or not.
   *
   * @throws {RequestError} if it can never be served.
   * @throws {Error} if the engine was stopped, or its runner's error if that failed.
   */
  submit(request: GenerationRequest): TokenStream {
    if (this.#closed) throw this.#closed;
    const sequence = this.#scheduler.add(request);
    const cancel = () => this.#end(sequence, "cancelled");
    const stream = new TokenStream(sequence, cancel);
    this.#streams.set(sequence, stream);
    request.signal?.addEventListener("abort", cancel);
    if (request.signal?.aborted) cancel();
    this.#loop ??= this.#run();
    return stream;
  }

  /** Serves all requests together; results in the order of the requests. Throws like `submit`. */
  async generate(requests: readonly GenerationRequest[]): Promise<Generation[]> {
    const streams: TokenStream[] = [];
    try {
      for (const request of requests) streams.push(this.submit(request));
      return await Promise.all(streams.map(async (stream) => {
        const ids: number[] = [];
        for await (const token of stream) ids.push(token.id);
        return { ids, finish: stream.finish!, timings: stream.timings };
      }));
    } finally {
      for (const stream of streams) stream.cancel();
    }
  }

  /**
   * Scores a text, position by position. The requests that are running pause for it, and those that
   * it takes the room of in the cache are computed again after it.
   *
   * @throws {RequestError} if an id is not one of the vocabulary.
   * @throws what `options.signal` was aborted with; as `submit` does.
   */
  async score(ids: readonly number[], options: ScoreOptions = {}): Promise<TokenScores> {
    if (this.#closed) throw this.#closed;
    checkIds(ids, this.#runner.config.vocabSize);
    const { promise, resolve, reject } = Promise.withResolvers<TokenScores>();
    const run = async () => {
      try {
        resolve(await this.#score(ids, options));
      } catch (error) {
        reject(error);
      }
    };
    this.#scoring.push({ run, fail: reject });
    this.#loop ??= this.#run();
    return await promise;
  }

  async #score(ids: readonly number[], options: ScoreOptions): Promise<TokenScores> {
    const signals = [this.#stopping.signal, ...(options.signal ? [options.signal] : [])];
    const signal = AbortSignal.any(signals);
    signal.throwIfAborted();
    const abandon = () => this.#runner.abandon?.();
    signal.addEventListener("abort", abandon);
    const entering = scoringChunk(this.#runner);
    const size = { tokens: ids.length, entering };
    let room;
    while (!(room = this.#scheduler.borrow(size))) await this.#grow();
    try {
      return await scoreTokens(this.#runner, ids, { ...options, ...room, signal });
    } finally {
      signal.removeEventListener("abort", abandon);
      this.#scheduler.giveBack(room);
    }
  }

  /** What it has done since the start, and what it is doing. */
  get stats(): EngineStats {
    return {
      waiting: this.#scheduler.waiting.length,
      running: this.#scheduler.running.length,
      steps: this.#steps,
      prefillTokens: this.#prefillTokens,
      generatedTokens: this.#generatedTokens,
      preemptions: this.#scheduler.preemptions,
      blocks: this.#scheduler.blocks.stats[0]!,
      kvGroups: this.#scheduler.blocks.stats,
      prefix: { ...this.#scheduler.blocks.cache.stats },
    };
  }

  /** Forgets the prefixes that are cached for later requests, but for those of running ones. */
  clearPrefixCache(): void {
    this.#scheduler.blocks.clearCache();
  }

  /** Cancels all requests, takes no more, and returns when the device has nothing left to do. */
  async stop(): Promise<void> {
    this.#closed ??= new Error("Cannot submit: the engine was stopped");
    this.#stopping.abort(this.#closed);
    for (const sequence of [...this.#streams.keys()]) this.#end(sequence, "cancelled");
    if (this.#loop) this.#runner.abandon?.();
    await this.#loop;
  }

  /** Runs until there is nothing to do. One step is always submitted before the last is read. */
  async #run(): Promise<void> {
    const eventLoop = new EventLoop();
    const inFlight: { plan: Plan; step: PendingStep }[] = [];
    try {
      while (true) {
        await eventLoop.yield();
        if (this.#scoring.length > 0 && inFlight.length === 0) {
          await this.#scoring.shift()!.run();
          continue;
        }
        const plan = this.#scoring.length > 0 ? undefined : this.#scheduler.schedule();
        if (plan) inFlight.push({ plan, step: this.#submit(plan) });
        const grew = await this.#grow();
        if (inFlight.length > (plan ? 1 : 0)) {
          const { plan, step } = inFlight.shift()!;
          await this.#postprocess(plan, step);
        } else if (!plan && !grew) break;
      }
    } catch (error) {
      // What the device holds is unknown now.
      this.#closed = error instanceof Error ? error : new Error(String(error));
      for (const sequence of [...this.#streams.keys()]) this.#end(sequence, "cancelled", error);
      for (const job of this.#scoring.splice(0)) job.fail(error);
      // A step that failed and was never read would be an unhandled rejection.
      void Promise.allSettled(inFlight.map(async ({ step }) => await step.read()));
    }
    this.#loop = undefined;
  }

  #submit({ sequences, batch, copies }: Plan): PendingStep {
    this.#steps += batch.steps ?? 1;
    for (const [row, { start, tokens }] of batch.sequences.entries()) {
      const end = Math.min(start + (tokens?.length ?? 1), sequences[row]!.promptLength);
      this.#prefillTokens += Math.max(0, end - start);
    }
    const time = performance.now();
    for (const sequence of sequences) sequence.started ??= time;
    if (copies.length > 0) this.#runner.copyBlocks(copies);
    return this.#runner.submit(this.#anew ? { ...batch, anew: this.#anew } : batch);
  }

  /** Has the runner make the room in the cache that is lacking; false if none is. */
  async #grow(): Promise<boolean> {
    const { blocks } = this.#scheduler;
    let asked = false;
    for (let growth; (growth = blocks.growth); asked = true) {
      const has = await this.#runner.growBlocks!(growth.group, growth.blocks);
      for (const sequence of this.#scheduler.grown(growth.group, has)) {
        if (sequence.times.length > 0) this.#end(sequence, "length");
        else this.#end(sequence, "cancelled", noRoom(sequence, blocks.budget));
      }
    }
    return asked;
  }

  async #postprocess({ sequences, batch }: Plan, step: PendingStep): Promise<void> {
    const output = await step.read();
    const time = performance.now();
    for (const [row, sequence] of sequences.entries()) {
      const { logprobs: top } = sequence.request;
      const { start, tokens } = batch.sequences[row]!;
      sequence.entered = start + (tokens?.length ?? 1);
      for (const id of output.tokens[row]!) {
        if (!this.#scheduler.append(sequence, id, time)) break;
        this.#generatedTokens++;
        const logits = batch.sequences[row]!.logits && output.logits[row]?.[0];
        this.#streams.get(sequence)!.push({
          id,
          index: sequence.times.length - 1,
          time,
          ...(logits && { logprobs: tokenLogprobs(logits, id, top!) }),
        });
        if (sequence.finish) this.#close(sequence);
      }
    }
  }

  #end(sequence: Sequence, reason: FinishReason, error?: unknown): void {
    this.#scheduler.end(sequence, reason);
    this.#close(sequence, error);
  }

  #close(sequence: Sequence, error?: unknown): void {
    const stream = this.#streams.get(sequence);
    if (!stream) return;
    this.#streams.delete(sequence);
    sequence.request.signal?.removeEventListener("abort", stream.cancel);
    if (error === undefined) stream.end();
    else stream.fail(error);
  }
}

function noRoom(sequence: Sequence, blocks: number): DeviceError {
  return new DeviceError(
    "out-of-memory",
    `Cannot serve a prompt of ${sequence.promptLength} ${
      plural(sequence.promptLength, "token")
    }: ` +
      `the KV cache could not grow beyond ${blocks} ${
        plural(blocks, "block")
      } of ${BLOCK_TOKENS}; ` +
      "shorten it, or free device memory",
  );
}
