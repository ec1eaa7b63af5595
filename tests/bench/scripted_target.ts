/** A target with a scripted clock and measurements, so that its reports are always the same. */

import assert from "node:assert/strict";
import {
  type Environment,
  keyOf,
  type Report,
  type Result,
  type RunOptions,
  type Settings,
} from "../../bench/report/report.ts";
import type { Program } from "../../bench/targets/environment.ts";
import type { KernelBench } from "../../bench/kernels/kernel_bench.ts";
import type {
  BenchRequest,
  HeldBlocks,
  HostStep,
  MemoryUse,
  Probe,
  Served,
  ServeOptions,
  Serving,
  Session,
  SessionOptions,
  Target,
} from "../../bench/targets/target.ts";

export const RUN: RunOptions = {
  promptTokens: 64,
  maxTokens: 5,
  prompts: 2,
  warmup: 1,
  repetitions: 7,
  concurrency: [1, 2],
  contexts: [32, 128, 256, 512],
  sequences: [1, 2, 4, 8],
  promptTexts: ["Hello", "How are you", "Tell me a story"],
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1 },
  seed: 7,
  suiteOptions: {},
  date: "2026-01-02T03:04:05.000Z",
  command: "tvllm bench",
};

export const ENVIRONMENT: Environment = {
  host: {
    system: "Plan 9",
    processor: "Abacus",
    features: ["AVX2", "FMA"],
    cores: 2,
    memory: 8 * 2 ** 30,
    threads: 1,
  },
  device: {
    description: "Scripted 3000",
    vendor: "acme",
    architecture: "toy",
    kind: "gpu",
    driver: "hardware",
    api: "Vulkan",
    driverVersion: "1.2",
  },
  model: {
    name: "tiny",
    architecture: "llama",
    parameters: 1_000_000,
    sha256: "0".repeat(64),
    formats: ["Q8_0", "F32"],
    bitsPerWeight: 8.5,
    fileBytes: 1_100_000,
    tensorBytes: 1_062_500,
    readBytes: 1_062_500,
    readWeights: 1_000_000,
    deviceBytes: 1_062_500,
    dim: 64,
    layers: 2,
    layerKinds: [
      { layers: 1, heads: 2, kvHeads: 1, headDim: 32, headNorm: false },
      { layers: 1, heads: 2, kvHeads: 1, headDim: 32, window: 48, headNorm: false },
    ],
    heads: 2,
    kvHeads: 1,
    headDim: 32,
    ffnDim: 128,
    vocabSize: 512,
    contextLength: 256,
  },
  engine: {
    tvllm: "1.2.3",
    commit: "abcdef012345",
    deno: "2.9.6",
    kernels: "hardware",
    kvType: "f16",
  },
};

/** Seven samples within 2 % of `center`. */
const around = (center: number) => [-2, -1, -1, 0, 1, 1, 2].map((n) => center * (1 + n / 100));

const PROBE: Probe = {
  bandwidth: around(100),
  flops: around(1000),
  int8: around(4000),
  dispatch: around(5),
  readback: around(0.1),
  upload: around(8),
};

/** Scripted times in ms: a prompt depends on its length, a token on its position. */
const PREFILL = { first: 2, each: 0.125 };
const DECODE = { first: 2, position: 0.005, sequence: 0.25, sampled: 0.1, text: 0.03 };

/** The program and the machine in reports of tests with real models. */
export const PROGRAM: Program = {
  tvllm: "test",
  commit: "unknown",
  driverOf: () => undefined,
  kvType: "f16",
  startup: { milliseconds: 1, since: "process" },
  host: { system: "test", processor: "test", features: [], cores: 2, memory: null },
  sha256: "0".repeat(64),
};

/** Returns the result of this metric with these settings. */
export function resultOf(report: Report, metric: string, settings: Settings = {}): Result {
  const key = keyOf({ metric, settings });
  const result = report.results.find((result) => keyOf(result) === key);
  assert.ok(result, `${report.suite} has no ${key}`);
  return result;
}

export function numberOf(report: Report, metric: string, settings?: Settings): number {
  return resultOf(report, metric, settings).value;
}

/**
 * A prompt takes longer the more of its tokens are not cached. A token takes longer the more tokens
 * come before it and the more requests are decoded with it. Servings differ by up to 2 %.
 */
export class ScriptedTarget implements Target {
  readonly environment: Environment = ENVIRONMENT;
  readonly limits = { maxSequences: 20, blocks: 512, maxBatchTokens: 64 };
  readonly hasTimestamps: boolean = true;
  readonly features = ["subgroups", "timestamp-query"];
  readonly matrices = [{ kernel: "matmul_q8_0", rows: 1000, columns: 1000, bytes: 1_062_500 }];
  readonly startup = { milliseconds: 120, since: "launcher" } as const;
  readonly loadTimes = { config: 10, tokenizer: 60, device: 30, kernels: 40, weights: 150 };
  readonly compiled: number = 5;
  readonly copied = { toDevice: 0, toHost: 0 };
  /** Number of decode steps that the device chains in a submit. */
  chained = 1;
  /** Factor by which all times are multiplied. */
  pace = 1;
  /** Called before each serving, with the number of servings so far. */
  onServe: (count: number) => void = () => {};
  #time = 1000;
  #servings = 0;

  readonly text = {
    encode: (text: string) => {
      this.#time += 0.5;
      return Array.from(text, (c) => c.codePointAt(0)! % 512);
    },
    decode: (ids: readonly number[]) => {
      // Longer texts take longer.
      this.#time += 0.02 + 0.001 * ids.length;
      return ids.map((id) => String.fromCodePoint(id)).join("");
    },
    stream: () => {
      this.#time += 0.001;
      return {
        push: (id: number) => {
          this.#time += 0.004;
          return String.fromCodePoint(id);
        },
        flush: () => "",
      };
    },
  };

  get hasServed(): boolean {
    return this.#servings > 0;
  }

  now(): number {
    return this.#time;
  }

  probe(): Promise<Probe | null> {
    return Promise.resolve(PROBE);
  }

  withSession<T>(
    { sharePrefixes = false, keep = {} }: SessionOptions,
    use: (session: Session) => Promise<T>,
  ): Promise<T> {
    const seen: (readonly number[])[] = [];
    let cacheUse = { blocksAllocated: 0, blocksShared: 0, hits: 0, misses: 0, tokensSaved: 0 };
    return use({
      get cacheUse() {
        return cacheUse;
      },
      serve: (requests, options = {}) => {
        const saved = requests.map(({ promptIds, maxTokens }) => {
          const hits = knownBlocks(promptIds, seen);
          cacheUse = {
            blocksAllocated: cacheUse.blocksAllocated - hits +
              Math.ceil((promptIds.length + maxTokens - 1) / 16),
            // The second prompt with this beginning shares blocks; later ones find the same.
            blocksShared: cacheUse.blocksShared + (seen.length === 1 ? hits : 0),
            hits: cacheUse.hits + hits,
            misses: cacheUse.misses + Math.floor(promptIds.length / 16) - hits,
            tokensSaved: cacheUse.tokensSaved + savedTokens(promptIds, hits),
          };
          if (sharePrefixes) seen.push(promptIds);
          return savedTokens(promptIds, hits);
        });
        return Promise.resolve(this.serve(requests, { ...options, keep }, saved));
      },
      holdSequences: (prompts) => Promise.resolve(holdSequences(prompts, sharePrefixes)),
    });
  }

  /** Serves requests, each with `saved` prompt tokens in the cache, which take no time. */
  serve(
    requests: readonly BenchRequest[],
    { arrival = "concurrent", profile, text, keep = {} }:
      & ServeOptions
      & Pick<SessionOptions, "keep">,
    saved: readonly number[],
  ): Serving {
    this.onServe(this.#servings);
    const pace = this.pace * (1 + 0.01 * (this.#servings++ % 3));
    const served: Served[] = [];
    const steps: HostStep[] = [];
    const hits = saved.reduce((sum, tokens) => sum + Math.ceil(tokens / 16), 0);
    const blocks = requests.reduce((n, { promptIds }) => n + Math.floor(promptIds.length / 16), 0);
    const entering = ({ promptIds }: BenchRequest, i: number) => promptIds.length - saved[i]!;
    const start = this.#time + 1;
    let free = start;
    for (const [i, request] of requests.entries()) {
      const { promptIds, maxTokens, sampling } = request;
      const submitted = arrival === "concurrent"
        ? start
        : arrival === "sequential"
        ? free
        : i === 0
        ? start
        : served[i - 1]!.times[Math.min(3, served[i - 1]!.times.length - 1)]!;
      // Concurrent prompts are prefilled one after the other.
      const begin = Math.max(submitted, arrival === "concurrent" ? free : submitted) +
        pace * (PREFILL.first + PREFILL.each * entering(request, i));
      const sequences = arrival === "sequential" ? 1 : requests.length;
      const times = [begin];
      for (let token = 1; token < maxTokens; token++) {
        const step = DECODE.first + DECODE.position * (promptIds.length + token) +
          DECODE.sequence * (sequences - 1) + (sampling?.temperature ? DECODE.sampled : 0) +
          (text ? DECODE.text : 0) +
          (keep.keys === false ? PREFILL.each * (promptIds.length + token) : 0) +
          (keep.weights === false ? 20 : 0) + (keep.buffers === false ? 0.5 : 0);
        times.push(times.at(-1)! + pace * step);
      }
      const ids = times.map((_, i) => (promptIds[0]! + i) % 512);
      served.push({ ids, submitted, times });
      free = arrival === "concurrent" ? begin : times.at(-1)!;
      // Requests that are served together share their steps.
      if (steps.length > 0 && arrival !== "sequential") continue;
      for (const [i, time] of times.entries()) {
        steps.push({
          tokens: sequences * (i === 0 ? promptIds.length : 1),
          sequences,
          chained: this.chained,
          submitStart: time - 1.5,
          submitEnd: time - 1.25,
          readStart: time - 1,
          readEnd: time,
          span: { from: time - 1.95, launched: time - 1.85, to: time - 0.1 },
          ...(profile && TIMED[Math.max(0, i - 1) % 4]),
        });
        this.copied.toDevice += 64 * sequences;
        this.copied.toHost += 4 * sequences;
      }
    }
    this.#time = Math.max(...served.map(({ times }) => times.at(-1)!));
    return { requests: served, steps, blocks: { hits, misses: blocks - hits } };
  }

  /** The scripted tokens are always the most probable ones. */
  margins(_: readonly number[], ids: readonly number[]): Promise<number[]> {
    return Promise.resolve(ids.map(() => 0));
  }

  kernels(): Promise<KernelBench | null> {
    return Promise.resolve({
      verify: async function* () {
        yield { name: "matmul Q8_0", passed: true, error: 2.5e-7, tolerance: 1e-6 };
        yield { name: "sampling", passed: true, error: 0, tolerance: 0 };
      },
      cases: [{
        kernel: "matmul Q8_0",
        shape: "1000 × 1000",
        cost: (tokens) => ({ operations: 2e6 * tokens, bytes: 1_062_500 + 8000 * tokens }),
        time: (tokens, _, rounds) =>
          Promise.resolve(
            tokens.map((n) =>
              Array.from({ length: rounds }, (_, round) => 0.02 + 0.005 * n + 0.0001 * round)
            ),
          ),
      }, {
        kernel: "sampling",
        shape: "512 logits",
        cost: () => undefined,
        time: (tokens, _, rounds) => Promise.resolve(tokens.map(() => Array(rounds).fill(0.01))),
      }],
      close: () => {},
    });
  }

  memory(): MemoryUse {
    return {
      buffers: { weights: 1_062_500, kv: 4096, scratch: 4096, readback: 256 },
      peakRss: 90_000_000,
    };
  }
}

/** Number of full blocks at the start of a prompt that one of the seen prompts starts with too. */
function knownBlocks(promptIds: readonly number[], seen: readonly (readonly number[])[]): number {
  return Math.floor(Math.max(0, ...seen.map((prompt) => sharedLength(prompt, promptIds))) / 16);
}

/** Number of prompt tokens that are not computed. The last token of a prompt always is. */
function savedTokens(promptIds: readonly number[], hits: number): number {
  return Math.min(16 * hits, promptIds.length - 1);
}

function sharedLength(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((id, i) => id !== b[i]);
  return end === -1 ? a.length : end;
}

function holdSequences(prompts: readonly (readonly number[])[], share: boolean): HeldBlocks {
  const tokens = prompts.map((prompt) => prompt.length);
  const held = tokens.reduce((sum, length) => sum + Math.ceil(length / 16), 0);
  // The second group has a window of three blocks.
  const windows = tokens.reduce((sum, length) => sum + Math.min(4, Math.ceil(length / 16)), 0);
  const used = [held, windows].map((blocks) => share ? Math.ceil(blocks / 2) : blocks);
  return { used, held: [held, windows], tokens };
}

const TIMED_EACH: Pick<HostStep, "timing" | "kernels"> = {
  timing: "each",
  kernels: [
    { name: "embed_q8_0", milliseconds: 0.1 },
    { name: "matmul_q8_0", milliseconds: 1 },
    { name: "attention", milliseconds: 0.5 },
    { name: "sample_chunks", milliseconds: 0.05 },
    { name: "sample_pick", milliseconds: 0.05 },
  ],
};

/** How the decode steps of a cycle are timed. Timing adds 10 µs to each pass. */
const TIMED: readonly Pick<HostStep, "timing" | "kernels">[] = [
  TIMED_EACH,
  {},
  {},
  { timing: "together", kernels: [{ name: "embed_q8_0", milliseconds: 1.66 }] },
];
