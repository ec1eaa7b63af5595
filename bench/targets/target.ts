/** What suites measure, and the clock for it. engine_target.ts implements it; tests script it. */

import type { Kept } from "../../engine/run/engine.ts";
import type { KernelTime, SamplingOptions, StepSpan, Timing } from "../../engine/run/runner.ts";
import type { Matrix } from "../kernels/costs.ts";
import type { KernelBench, KernelChoice } from "../kernels/kernel_bench.ts";
import type { Pace } from "./pacing.ts";
import type { Environment } from "../report/report.ts";

/** The figures of the probe; units as in the report's limits. */
export const PROBED = ["bandwidth", "flops", "int8", "dispatch", "readback", "upload"] as const;

/** What the device can do, with several samples of each figure. */
export type Probe = Readonly<Record<typeof PROBED[number], readonly number[]>>;

/** A request of a benchmark. It is decoded to its full length, whatever its tokens are. */
export interface BenchRequest {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  /** Default greedy. */
  readonly sampling?: SamplingOptions;
}

/** A request that was served. Times are in ms of the target's clock. */
export interface Served {
  readonly ids: readonly number[];
  readonly submitted: number;
  /** When each token reached its consumer. */
  readonly times: readonly number[];
  /**
   * Reported by some endpoints: the number of tokens of the prompt, how many of them were cached,
   * and the server's own times in ms.
   */
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly own?: { readonly prompt: number; readonly perToken: number };
}

/**
 * One submit of the engine as seen by the host; times in ms. The device starts it once the previous
 * one has been read, even if it was submitted earlier: the time of a step is from the previous
 * readback to its own.
 */
export interface HostStep {
  /** Number of tokens processed, and of the sequences they belong to. */
  readonly tokens: number;
  readonly sequences: number;
  /** Number of decode steps that the device chained in it. */
  readonly chained: number;
  readonly submitStart: number;
  readonly submitEnd: number;
  readonly readStart: number;
  readonly readEnd: number;
  /**
   * For profiled steps: how the kernels were timed, and the kernels in the order in which they ran.
   */
  readonly timing?: Timing;
  readonly kernels?: readonly KernelTime[];
  /** When the device ran it, if the target knows. */
  readonly span?: StepSpan;
}

/**
 * How requests arrive: all at once, each when the previous one is done, or each when the previous
 * one has its fourth token.
 */
export type Arrival = "concurrent" | "sequential" | "staggered";

export interface ServeOptions {
  /** Default: concurrent. */
  readonly arrival?: Arrival;
  /**
   * For endpoints only: send a load with this pace instead. A failed request then does not fail the
   * others.
   */
  readonly pace?: Pace;
  /** Times kernels; only for targets with timestamps. See `kernelSteps`. */
  readonly profile?: boolean;
  /**
   * The consumer converts tokens to text and encodes it for output. Times are then when the text of
   * a token was encoded, if it had any.
   */
  readonly text?: TextMaking;
}

/**
 * How tokens become text: with a streaming detokenizer for each request, with one that an earlier
 * request no longer uses, or each token by itself.
 */
export type TextMaking = "streaming" | "pooled" | "naive";

/** A request that failed. Times are in ms of the target's clock. */
export interface FailedRequest {
  readonly submitted: number;
  readonly ended: number;
  readonly reason: string;
}

/**
 * Thrown if a server did not answer all requests of a serving that must be complete. `cause` is the
 * first reason.
 */
export class FailedServing extends Error {
  override name = "FailedServing";

  constructor(readonly failures: readonly FailedRequest[], cause: unknown) {
    super(failures[0]!.reason, { cause });
  }
}

/** The result of serving some requests. */
export interface Serving {
  readonly requests: readonly Served[];
  /** The failed requests of a load. */
  readonly failures?: readonly FailedRequest[];
  readonly steps: readonly HostStep[];
  /** Full blocks of their prompts that were found in the cache, and that were not. */
  readonly blocks: { readonly hits: number; readonly misses: number };
}

/** How the requests of a session used its KV cache. */
export interface CacheUse {
  /** Blocks that were allocated, and blocks that were shared by several requests. */
  readonly blocksAllocated: number;
  readonly blocksShared: number;
  /** Full blocks of prompts that were found in the cache, and that were not. */
  readonly hits: number;
  readonly misses: number;
  /** Prompt tokens that were not computed. */
  readonly tokensSaved: number;
}

/** Blocks of sequences that are alive at the same time. */
export interface HeldBlocks {
  /** Distinct blocks in use, by group of layers (engine/model/kv_groups.ts). */
  readonly used: readonly number[];
  /**
   * Entries of all block tables that have not been freed: the blocks that would be used without
   * sharing.
   */
  readonly held: readonly number[];
  /** Tokens of each sequence in the cache. */
  readonly tokens: readonly number[];
}

export interface SessionOptions {
  /** Keeps the blocks of prompts for later prompts that begin alike; default: no. */
  readonly sharePrefixes?: boolean;
  /** Maximum number of tokens per step; default: the maximum of the backend. */
  readonly batchTokens?: number;
  /** What the engine keeps from step to step; default: everything it can. */
  readonly keep?: Kept;
}

/** A session on an engine of its own, whose cache is empty at first. */
export interface Session {
  /** Counts since the session was opened. */
  readonly cacheUse: CacheUse;
  /** Serves requests until all are done. */
  serve(requests: readonly BenchRequest[], options?: ServeOptions): Promise<Serving>;
  /**
   * Runs sequences until each has its first token, and counts their blocks. They live until the
   * session ends. If the session shares prefixes, the first sequence fills the cache for the
   * others.
   */
  holdSequences(prompts: readonly (readonly number[])[]): Promise<HeldBlocks>;
}

/** Bytes of the buffers on the device by purpose, and of the process. */
export interface MemoryUse {
  /** Null if they are not counted. */
  readonly buffers: {
    readonly weights: number;
    readonly kv: number;
    readonly scratch: number;
    readonly readback: number;
  } | null;
  /** Peak memory of the process, as reported by the system. */
  readonly peakRss: number;
}

/** Bytes of all buffers on the device; undefined if they are not counted. */
export function bufferBytes({ buffers }: MemoryUse): number | undefined {
  return buffers === null ? undefined : Object.values(buffers).reduce((a, b) => a + b);
}

/** The parts of the tokenizer that suites use. */
export interface BenchText {
  /** @param options.bos puts BOS in front if the model expects it; default false */
  encode(text: string, options?: { readonly bos?: boolean }): number[];
  decode(ids: readonly number[], continues: boolean): string;
  /** A new incremental detokenizer. */
  stream(): { push(id: number): string; flush(): string };
}

/** Times in ms of the parts of loading a model, which are done one after the other. */
export interface LoadTimes {
  /** Checking the metadata of the file. */
  readonly config: number;
  readonly tokenizer: number;
  /** Finding and opening the device. */
  readonly device: number;
  /** Compiling the kernels of a GPU. */
  readonly kernels: number;
  /** Reading the weights and uploading them, and creating the other buffers. */
  readonly weights: number;
}

/** A loaded model on a device. */
export interface Target {
  readonly environment: Environment;
  readonly limits: {
    readonly maxSequences: number;
    readonly blocks: number;
    readonly maxBatchTokens: number;
  };
  readonly hasTimestamps: boolean;
  /** The optional features of the adapter, if the target has one. */
  readonly features?: readonly string[] | undefined;
  /** Whether it has served requests, so that their kernels are compiled. */
  readonly hasServed: boolean;
  /** The matrices that a decoded token is multiplied by. */
  readonly matrices: readonly Matrix[];
  /** ms until the command ran, and what they are counted from. */
  readonly startup: { readonly milliseconds: number; readonly since: "launcher" | "process" };
  readonly loadTimes: LoadTimes;
  /** Number of kernels compiled so far. */
  readonly compiled: number;
  /** Bytes copied between host and device so far. */
  readonly copied: { readonly toDevice: number; readonly toHost: number };
  readonly text: BenchText;
  now(): number;
  /** Null without a device. */
  probe(): Promise<Probe | null>;
  /**
   * Calls `use` with a session. There is one session at a time; requests that it leaves running are
   * cancelled.
   */
  withSession<T>(options: SessionOptions, use: (session: Session) => Promise<T>): Promise<T>;
  /**
   * How much less probable each of `ids` is than the most probable token at its place, in nats,
   * after the prompt and the ids before it; 0 if it is the most probable one. Not allowed while a
   * session is open.
   */
  margins(promptIds: readonly number[], ids: readonly number[]): Promise<number[]>;
  /** Null without a device. */
  kernels(choice: KernelChoice): Promise<KernelBench | null>;
  memory(): MemoryUse;
}
