/** What suites measure, and the clock they measure it by. Tests script one; see engine_target.ts. */

import type { KernelTime, Timing } from "../../engine/run/runner.ts";
import type { Matrix } from "../kernels/costs.ts";
import type { KernelBench, KernelChoice } from "../kernels/kernel_bench.ts";
import type { Environment } from "../report/report.ts";

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

/**
 * How requests arrive: all at once, each when the one before is done, or each when the one before has
 * its fourth token.
 */
export type Arrival = "concurrent" | "sequential" | "staggered";

export interface ServeOptions {
  /** Default: concurrent. */
  readonly arrival?: Arrival;
  /** Times kernels; only for targets with timestamps. See `kernelSteps`. */
  readonly profile?: boolean;
}

/** What serving some requests took. */
export interface Serving {
  readonly requests: readonly Served[];
  readonly steps: readonly HostStep[];
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
  /** Distinct blocks in use. */
  readonly used: number;
  /** Entries of all block tables: the blocks without sharing. */
  readonly held: number;
  /** Tokens of each sequence in the cache. */
  readonly tokens: readonly number[];
}

export interface SessionOptions {
  /** Keeps the blocks of prompts for later ones that begin alike; default no. */
  readonly sharePrefixes?: boolean;
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
  /** Tokens that the KV cache has room for as it is now. */
  readonly kvTokens: number;
  /** The most that was seen. */
  readonly peakRss: number;
}

/** Bytes of all buffers on the device; undefined where they are not counted. */
export function bufferBytes({ buffers }: MemoryUse): number | undefined {
  return buffers === null ? undefined : Object.values(buffers).reduce((a, b) => a + b);
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
  readonly matrices: readonly Matrix[];
  /** ms from the start of the process until the command ran, and from the open file to ready. */
  readonly startup: number;
  readonly loadTime: number;
  readonly text: BenchText;
  now(): number;
  /** Null without a device. */
  probe(): Promise<Probe | null>;
  /** Lets `use` have a session, one at a time; what it left running is cancelled. */
  withSession<T>(options: SessionOptions, use: (session: Session) => Promise<T>): Promise<T>;
  /** Null without a device. */
  kernels(choice: KernelChoice): Promise<KernelBench | null>;
  memory(): MemoryUse;
}
