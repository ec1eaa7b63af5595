/** What suites measure, and the clock they measure it by. Tests script one; see engine_target.ts. */

import type { Environment } from "./report.ts";

/** What the device can do, measured on it. Units as in the report's limits. */
export interface Probe {
  readonly bandwidth: number;
  readonly flops: number;
  readonly int8: number;
  readonly dispatch: number;
  /** µs that a kernel's timestamps add to it. */
  readonly timing: number;
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

/** One step of the engine as the host saw it, in ms. */
export interface HostStep {
  readonly tokens: number;
  readonly sequences: number;
  readonly submitStart: number;
  readonly submitEnd: number;
  readonly readStart: number;
  readonly readEnd: number;
}

export interface ServeOptions {
  /**
   * "together": all at once, the default. "in-turn": each when the one before is done.
   * "staggered": each when the one before has its fourth token.
   */
  readonly arrival?: "together" | "in-turn" | "staggered";
  /** Times each kernel. */
  readonly profile?: boolean;
}

/** What serving some requests took. */
export interface Serving {
  readonly requests: readonly Served[];
  readonly steps: readonly HostStep[];
  /** Kernels in the order they ran, of a profiled run on a device that has timestamps. */
  readonly kernels: readonly { readonly name: string; readonly milliseconds: number }[];
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
  /** Full blocks of the prompt that the cache had, and had not. */
  readonly hits: number;
  readonly misses: number;
  /** Prompt tokens that were not computed. */
  readonly tokensSaved: number;
}

/** Bytes on the device by purpose, and of the process. */
export interface MemoryUse {
  readonly weights: number;
  readonly kv: number;
  readonly scratch: number;
  readonly readback: number;
  readonly peakRss: number;
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
  /** The matrices that a decoded token multiplies with. */
  readonly matrices: readonly {
    readonly type: string;
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
  /**
   * Runs sequences until each has its first token, then counts their blocks and cancels them.
   * With `share` equal prefixes are shared; the first sequence fills the cache for the others.
   */
  hold(prompts: readonly (readonly number[])[], share: boolean): Promise<HeldBlocks>;
  /** Null where the device's buffers are not counted. */
  memory(): MemoryUse | null;
}
