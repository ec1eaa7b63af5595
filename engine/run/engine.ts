/** The serving loop for any ModelRunner: schedule → run → postprocess. It uses token ids only. */

import { DeviceError, RequestError } from "../errors.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { recurrentOf } from "../model/mixers.ts";
import type { BlockStats } from "./block_manager.ts";
import { EventLoop } from "./event_loop.ts";
import { tokenLogprobs } from "./logprobs.ts";
import { KvBlocks } from "./kv_blocks.ts";
import { type Batch, BLOCK_TOKENS, type ModelRunner, type PendingStep } from "./runner.ts";
import {
  checkScoreOptions,
  type ScoreOptions,
  scoreTokens,
  scoringChunk,
  type TokenScores,
} from "./perplexity.ts";
import type { PrefixStats } from "./prefix_cache.ts";
import { type Plan, Scheduler } from "./scheduler.ts";
import { checkIds, type FinishReason, type GenerationRequest, type Sequence } from "./sequence.ts";
import { TokenStream } from "./token_stream.ts";
import { plural } from "../plural.ts";

/**
 * What to keep from one step to the next; default everything. Discarding something costs time but
 * changes no token, so that the benefit of keeping it can be measured.
 */
export interface Kept {
  /** A sequence's keys and values. If discarded, all its tokens are computed for each new token. */
  readonly keys?: boolean;
  /**
   * The weights in the kernels' layout. If discarded, each step reads the model's file and converts
   * the weights again.
   */
  readonly weights?: boolean;
  /**
   * The buffers between kernels. If discarded, a step on a GPU creates and binds its own. The CPU
   * has one memory for all buffers, so there a step clears them and writes its list of operations
   * again.
   */
  readonly buffers?: boolean;
}

/** Options of an engine; each has a default. */
export interface EngineOptions {
  /** Maximum number of tokens in one step; default and upper limit: the runner's maximum. */
  readonly maxBatchTokens?: number;
  /**
   * Decode steps to chain on the device when all sequences decode; default 1, at most 8. Chaining
   * saves a readback per token. But tokens arrive in bursts, and up to twice as many tokens as
   * `steps` are computed past a stop token.
   */
  readonly steps?: number;
  /**
   * Blocks to keep for later requests while no request uses them; default all. With 0, requests
   * share no prefixes. Nor do they for models with recurrent layers: each request computes its
   * whole prompt.
   */
  readonly prefixCacheBlocks?: number;
  /** Tokens of the longest sequence, prompt included; default and upper limit: the runner's. */
  readonly contextLength?: number;
  /** Blocks to which the KV cache may grow, by group of layers; default: it does not grow. */
  readonly maxBlocks?: readonly number[];
  /** What to keep from one step to the next; default everything. */
  readonly keep?: Kept;
}

/** A text to be scored. */
interface ScoreJob {
  readonly run: () => Promise<void>;
  readonly fail: (error: unknown) => void;
}

/** The result of a request to `generate`. */
export interface Generation {
  /** The generated tokens, including a stop token. */
  readonly ids: readonly number[];
  /** Why the request ended. */
  readonly finish: FinishReason;
  /** `performance.now()` at submit, and when each token was read from the device. */
  readonly timings: { readonly submitted: number; readonly tokens: readonly number[] };
}

/** An engine's current load, and its totals since it was created. */
export interface EngineStats {
  /** Requests that wait for room. */
  readonly waiting: number;
  /** Requests that are being served. */
  readonly running: number;
  /** Steps run on the device; each step of a chain counts. */
  readonly steps: number;
  /** Prompt tokens computed, including those recomputed after a preemption. */
  readonly prefillTokens: number;
  /** Generated tokens read from the device. */
  readonly generatedTokens: number;
  /** How often a running request was preempted because there was no room. */
  readonly preemptions: number;
  /** The KV cache of the group of layers that keeps the most positions. */
  readonly blocks: BlockStats;
  /** The KV cache of each group of layers. */
  readonly kvGroups: readonly BlockStats[];
  /** Statistics of the prefix cache. */
  readonly prefix: Readonly<PrefixStats>;
}

/**
 * Serves any number of requests at once, in token ids. It does not own the runner: the code that
 * created the runner must destroy it, after `stop()`.
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
  /** Set once the engine accepts no more requests, because it was stopped or failed. */
  #closed: Error | undefined;
  #steps = 0;
  #prefillTokens = 0;
  #generatedTokens = 0;

  /** Creates an engine that manages the whole cache of `runner`; no other engine may use it. */
  constructor(runner: ModelRunner, options: EngineOptions = {}) {
    const { limits, config } = runner;
    // The scheduler checks the other options, after they are capped at the runner's limits.
    const keep = options.prefixCacheBlocks ?? Infinity;
    if (!(keep === Infinity || (Number.isSafeInteger(keep) && keep >= 0))) {
      throw new RequestError(
        `Cannot create an engine: prefixCacheBlocks is ${keep}, not a whole number of at least 0`,
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
    // Recurrent layers would need their states at the end of a prefix, and these are not cached.
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
   * Queues a request. It starts at once, whether or not its stream is read.
   *
   * @throws {RequestError} if it can never be served.
   * @throws {Error} if the engine was stopped, or the runner's error if the runner failed.
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

  /** Serves all requests together. Returns results in the requests' order; throws like `submit`. */
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
   * Scores a text, position by position. Running requests pause meanwhile. Those whose room in the
   * KV cache it needs are recomputed afterwards.
   *
   * @throws {RequestError} if an id is not in the vocabulary, or an option is invalid.
   * @throws the reason of `options.signal` if that is aborted, or an error as `submit` does.
   */
  async score(ids: readonly number[], options: ScoreOptions = {}): Promise<TokenScores> {
    if (this.#closed) throw this.#closed;
    checkIds(ids, this.#runner.config.vocabSize);
    checkScoreOptions(options);
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

  /** The current load, and totals since the start. */
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

  /** Removes the cached prefixes that no running request uses. */
  clearPrefixCache(): void {
    this.#scheduler.blocks.clearCache();
  }

  /** Cancels all requests, accepts no more, and resolves when the device has nothing left to do. */
  async stop(): Promise<void> {
    this.#closed ??= new Error("Cannot submit: the engine was stopped");
    this.#stopping.abort(this.#closed);
    for (const sequence of [...this.#streams.keys()]) this.#end(sequence, "cancelled");
    if (this.#loop) this.#runner.abandon?.();
    await this.#loop;
  }

  /** Runs until there is nothing to do. If it can, it submits a step before it reads the last. */
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
      // The state of the device is unknown now, so nothing more can be served.
      this.#closed = error instanceof Error ? error : new Error(String(error));
      for (const sequence of [...this.#streams.keys()]) this.#end(sequence, "cancelled", error);
      for (const job of this.#scoring.splice(0)) job.fail(error);
      // Read the steps in flight: if one failed, it would be an unhandled rejection otherwise.
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

  /** Grows the runner's KV cache if blocks are lacking. Returns false if none are. */
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
      } of ${BLOCK_TOKENS} tokens; ` +
      "shorten the prompt, or free device memory",
  );
}
