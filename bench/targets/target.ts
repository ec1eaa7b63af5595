/** What suites measure, and the clock they measure it by. Tests script one; see engine_target.ts. */

import type { KernelTime, Timing } from "../../engine/run/runner.ts";
import type { Environment, RunOptions } from "../report/report.ts";

/** What the device can do, measured on it. Units as in the report's limits. */
export interface Probe {
  readonly bandwidth: number;
  readonly flops: number;
  readonly int8: number;
  readonly dispatch: number;
  readonly readback: number;
  readonly upload: number;
}

/** A request of a benchmark: decoded greedily, to its full length whatever it says. */
export interface BenchRequest {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
}

/** A request that was served. Times are the target's clock in ms. */
export interface Served {
  readonly ids: readonly number[];
  readonly submitted: number;
  /** When each token reached its consumer. */
  readonly times: readonly number[];
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
}

export interface ServeOptions {
  /**
   * "together": all at once, the default. "in-turn": each when the one before is done.
   * "staggered": each when the one before has its fourth token.
   */
  readonly arrival?: "together" | "in-turn" | "staggered";
  /** Times kernels, where the device has timestamps; see `kernelSteps`. */
  readonly profile?: boolean;
}

/** What serving some requests took. */
export interface Serving {
  readonly requests: readonly Served[];
  readonly steps: readonly HostStep[];
}

/** Blocks of sequences that are alive at the same moment. */
export interface HeldBlocks {
  /** Distinct blocks in use. */
  readonly used: number;
  /** Entries of all block tables: the blocks without sharing. */
  readonly held: number;
  /** Tokens of each sequence in the cache. */
  readonly tokens: readonly number[];
}

/** A request served after others by one engine with a prefix cache. */
export interface CachedServing {
  readonly served: Served;
  readonly steps: readonly HostStep[];
  /** Full blocks of the prompt that the cache had, and had not. */
  readonly hits: number;
  readonly misses: number;
  /** Prompt tokens that were not computed. */
  readonly tokensSaved: number;
}

/** Requests in rounds, each served when the one before is done, by one engine. */
export interface RoundsServing extends Serving {
  /** Blocks of the KV cache that were handed out, and that served more than one request. */
  readonly blocksAllocated: number;
  readonly blocksShared: number;
  /** Full blocks of prompts that the cache had. */
  readonly hits: number;
  /** Prompt tokens that were not computed. */
  readonly tokensSaved: number;
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
  /** Tokens that the KV cache has room for as it is now. */
  readonly kvTokens: number;
  /** The most that was seen. */
  readonly peakRss: number;
}

/** Bytes of all buffers on the device; undefined where they are not counted. */
export function bufferBytes({ buffers }: MemoryUse): number | undefined {
  return buffers === null ? undefined : Object.values(buffers).reduce((a, b) => a + b);
}

/** What some calls of a kernel need, by their shapes. */
export interface Cost {
  readonly operations: number;
  readonly bytes: number;
}

/** A kernel in one shape. */
export interface KernelCase {
  readonly kernel: string;
  readonly shape: string;
  /** What a call for so many tokens needs; undefined where it is not counted. */
  cost(tokens: number): Cost | undefined;
  /**
   * ms of a call for each of these numbers of tokens, `rounds` samples each, taken by turns after
   * `warmups` (at least one, which compiles) that do not count.
   */
  time(tokens: readonly number[], warmups: number, rounds: number): Promise<number[][]>;
}

/** The kernels of a device. */
export interface KernelBench {
  /** Compares them with the reference, family by family. */
  verify(): AsyncIterable<Verified>;
  readonly cases: readonly KernelCase[];
  close(): void;
}

/** How far a family of kernels was from the reference. */
export interface Verified {
  readonly name: string;
  readonly passed: boolean;
  readonly error: number;
  readonly tolerance: number;
  readonly message?: string;
}

/** The tokenizer's part that suites use. */
export interface BenchText {
  encode(text: string): number[];
  decode(ids: readonly number[], continues: boolean): string;
  /** A new incremental detokenizer. */
  stream(): { push(id: number): string; flush(): string };
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
  /** Whether it has served requests: their kernels are compiled. */
  readonly hasServed: boolean;
  /** The matrices that a decoded token multiplies with. */
  readonly matrices: readonly {
    /** The kernel that multiplies with it. */
    readonly kernel: string;
    readonly rows: number;
    readonly columns: number;
    readonly bytes: number;
  }[];
  /** ms from the start of the process until the command ran, and from the open file to ready. */
  readonly startup: number;
  readonly loadTime: number;
  readonly text: BenchText;
  now(): number;
  /** Null without a device. */
  probe(): Promise<Probe | null>;
  serve(requests: readonly BenchRequest[], options?: ServeOptions): Promise<Serving>;
  /** Serves requests in turn by one engine that keeps prefixes, empty at the start. */
  serveCached(requests: readonly BenchRequest[]): Promise<CachedServing[]>;
  /** Serves rounds of requests by one engine, which with `share` keeps prefixes. */
  serveRounds(
    rounds: readonly (readonly BenchRequest[])[],
    options: { readonly share: boolean; readonly arrival: "together" | "in-turn" },
  ): Promise<RoundsServing>;
  /**
   * Runs sequences until each has its first token, then counts their blocks and cancels them.
   * With `share` equal prefixes are shared; the first sequence fills the cache for the others.
   */
  hold(prompts: readonly (readonly number[])[], share: boolean): Promise<HeldBlocks>;
  /** The kernels that `only` names, matrices in this `shape`; null without a device. */
  kernels(options: Pick<RunOptions, "only" | "shape">): Promise<KernelBench | null>;
  memory(): MemoryUse;
}
