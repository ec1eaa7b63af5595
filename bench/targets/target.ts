/** What suites measure, and the clock they measure it by. Tests script one; see engine_target.ts. */

import type { Kept } from "../../engine/run/engine.ts";
import type { KernelTime, SamplingOptions, StepSpan, Timing } from "../../engine/run/runner.ts";
import type { Matrix } from "../kernels/costs.ts";
import type { KernelBench, KernelChoice } from "../kernels/kernel_bench.ts";
import type { Pace } from "./pacing.ts";
import type { Environment } from "../report/report.ts";

/** What is probed; units as in the report's limits. */
export const PROBED = ["bandwidth", "flops", "int8", "dispatch", "readback", "upload"] as const;

/** What the device can do, measured on it: several samples each. */
export type Probe = Readonly<Record<typeof PROBED[number], readonly number[]>>;

/** A request of a benchmark: decoded to its full length whatever it says. */
export interface BenchRequest {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  /** Default greedy. */
  readonly sampling?: SamplingOptions;
}

/** A request that was served. Times are the target's clock in ms. */
export interface Served {
  readonly ids: readonly number[];
  readonly submitted: number;
  /** When each token reached its consumer. */
  readonly times: readonly number[];
  /**
   * Of an endpoint, as far as it tells: the prompt's tokens by its own count, those of them that it had
   * cached, and its own times in ms.
   */
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly own?: { readonly prompt: number; readonly perToken: number };
}

/**
 * One submit of the engine as the host saw it; times in ms. The device begins it when the one before
 * was read, though it may be submitted earlier: from that reading to its own is the step's time.
 */
export interface HostStep {
  /** Tokens that entered, and how many sequences they are of. */
  readonly tokens: number;
  readonly sequences: number;
  /** Decode steps that the device chained in it. */
  readonly chained: number;
  readonly submitStart: number;
  readonly submitEnd: number;
  readonly readStart: number;
  readonly readEnd: number;
  /** Of profiled steps, how their kernels were timed, and those in the order they ran. */
  readonly timing?: Timing;
  readonly kernels?: readonly KernelTime[];
  /** When the device had it, of targets that know. */
  readonly span?: StepSpan;
}

/**
 * How requests arrive: all at once, each when the one before is done, or each when the one before has
 * its fourth token.
 */
export type Arrival = "concurrent" | "sequential" | "staggered";

export interface ServeOptions {
  /** Default: concurrent. */
  readonly arrival?: Arrival;
  /** Of endpoints alone: a load, instead. Requests that fail then fail alone. */
  readonly pace?: Pace;
  /** Times kernels; only for targets with timestamps. See `kernelSteps`. */
  readonly profile?: boolean;
  /**
   * The consumer makes text of the tokens and encodes it for writing; times are then those when a
   * token's text was encoded, as far as it had any.
   */
  readonly text?: TextMaking;
}

/**
 * How tokens become text: by a streaming detokenizer of the request's own, by one that an earlier
 * request is done with, or each token alone.
 */
export type TextMaking = "streaming" | "pooled" | "naive";

/** A request that failed. Times are the target's clock in ms. */
export interface FailedRequest {
  readonly submitted: number;
  readonly ended: number;
  readonly reason: string;
}

/** A server did not answer all requests of a serving that has to be whole; `cause` is the first reason. */
export class FailedServing extends Error {
  override name = "FailedServing";

  constructor(readonly failures: readonly FailedRequest[], cause: unknown) {
    super(failures[0]!.reason, { cause });
  }
}

/** What serving some requests took. */
export interface Serving {
  readonly requests: readonly Served[];
  /** Those of a load that failed. */
  readonly failures?: readonly FailedRequest[];
  readonly steps: readonly HostStep[];
  /** Full blocks of their prompts that the cache had, and that it had not. */
  readonly blocks: { readonly hits: number; readonly misses: number };
}

/** What the requests of a session did to its KV cache. */
export interface CacheUse {
  /** Blocks that were handed out, and that served more than one request. */
  readonly blocksAllocated: number;
  readonly blocksShared: number;
  /** Full blocks of prompts that were in it, and that were not. */
  readonly hits: number;
  readonly misses: number;
  /** Prompt tokens that were not computed. */
  readonly tokensSaved: number;
}

/** Blocks of sequences that are alive at the same moment. */
export interface HeldBlocks {
  /** Distinct blocks in use, by group of layers (engine/model/kv_groups.ts). */
  readonly used: readonly number[];
  /** Entries of all block tables that are not given back: the blocks without sharing. */
  readonly held: readonly number[];
  /** Tokens of each sequence in the cache. */
  readonly tokens: readonly number[];
}

export interface SessionOptions {
  /** Keeps the blocks of prompts for later ones that begin alike; default no. */
  readonly sharePrefixes?: boolean;
  /** Most tokens that enter in a step; default as many as the backend takes. */
  readonly batchTokens?: number;
  /** What the engine keeps from step to step; default: everything it can. */
  readonly keep?: Kept;
}

/** An engine of its own, whose cache is empty at first. */
export interface Session {
  /** Counts since it was opened. */
  readonly cacheUse: CacheUse;
  /** Serves requests until all are done. */
  serve(requests: readonly BenchRequest[], options?: ServeOptions): Promise<Serving>;
  /**
   * Runs sequences until each has its first token, and counts their blocks; they live until the
   * session ends. Where it shares prefixes, the first sequence fills the cache for the others.
   */
  holdSequences(prompts: readonly (readonly number[])[]): Promise<HeldBlocks>;
}

/** Bytes of the buffers on the device by purpose, and of the process. */
export interface MemoryUse {
  /** Null where they are not counted. */
  readonly buffers: {
    readonly weights: number;
    readonly kv: number;
    readonly scratch: number;
    readonly readback: number;
  } | null;
  /** The most that the process ever had, by the system's count. */
  readonly peakRss: number;
}

/** Bytes of all buffers on the device; undefined where they are not counted. */
export function bufferBytes({ buffers }: MemoryUse): number | undefined {
  return buffers === null ? undefined : Object.values(buffers).reduce((a, b) => a + b);
}

/** The tokenizer's part that suites use. */
export interface BenchText {
  /** @param options.bos puts BOS in front if the model expects it; default false */
  encode(text: string, options?: { readonly bos?: boolean }): number[];
  decode(ids: readonly number[], continues: boolean): string;
  /** A new incremental detokenizer. */
  stream(): { push(id: number): string; flush(): string };
}

/** ms of the parts of a model's load, which are done one after the other. */
export interface LoadTimes {
  /** Checking what the file says. */
  readonly config: number;
  readonly tokenizer: number;
  /** Finding and opening the device. */
  readonly device: number;
  /** Compiling the kernels of a GPU. */
  readonly kernels: number;
  /** Reading the weights and uploading them, and making the other buffers. */
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
  /** What the adapter can do beyond what all can, of targets that have one. */
  readonly features?: readonly string[] | undefined;
  /** Whether it has served requests: their kernels are compiled. */
  readonly hasServed: boolean;
  /** The matrices that a decoded token multiplies with. */
  readonly matrices: readonly Matrix[];
  /** ms until the command ran, and since when. */
  readonly startup: { readonly milliseconds: number; readonly since: "launcher" | "process" };
  readonly loadTimes: LoadTimes;
  /** Kernels compiled so far. */
  readonly compiled: number;
  /** Bytes copied between host and device so far. */
  readonly copied: { readonly toDevice: number; readonly toHost: number };
  readonly text: BenchText;
  now(): number;
  /** Null without a device. */
  probe(): Promise<Probe | null>;
  /** Lets `use` have a session, one at a time; what it left running is cancelled. */
  withSession<T>(options: SessionOptions, use: (session: Session) => Promise<T>): Promise<T>;
  /**
   * How much less probable each of `ids` is than the most probable token there, in nats, after the
   * prompt and those before it; 0: it is the most probable. Not while a session is open.
   */
  margins(promptIds: readonly number[], ids: readonly number[]): Promise<number[]>;
  /** Null without a device. */
  kernels(choice: KernelChoice): Promise<KernelBench | null>;
  memory(): MemoryUse;
}
