/** A target whose clock and measurements are scripted, so that a report is the same to the letter. */

import assert from "node:assert/strict";
import {
  type Environment,
  keyOf,
  type Report,
  type Result,
  type RunOptions,
  type Settings,
} from "../../bench/report/report.ts";
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
  repetitions: 3,
  concurrency: [1, 2],
  seed: 7,
  suiteOptions: {},
  date: "2026-01-02T03:04:05.000Z",
};

export const ENVIRONMENT: Environment = {
  device: {
    description: "Scripted 3000",
    vendor: "acme",
    architecture: "toy",
    kind: "gpu",
    driver: "hardware",
  },
  model: {
    name: "tiny",
    architecture: "llama",
    parameters: 1_000_000,
    formats: ["Q8_0", "F32"],
    bitsPerWeight: 8.5,
    fileBytes: 1_100_000,
    tensorBytes: 1_062_500,
    readBytes: 1_062_500,
    readWeights: 1_000_000,
    deviceBytes: 1_062_500,
    dim: 64,
    layers: 2,
    heads: 2,
    kvHeads: 1,
    headDim: 32,
    ffnDim: 128,
    vocabSize: 512,
    contextLength: 256,
  },
  engine: { tvllm: "1.2.3", deno: "2.9.6", kernels: "hardware", kvType: "f16" },
};

const PROBE: Probe = {
  bandwidth: 100,
  flops: 1000,
  int8: 4000,
  dispatch: 5,
  readback: 0.1,
  upload: 8,
};

/** The result of this metric and these settings. */
export function resultOf(report: Report, metric: string, settings: Settings = {}): Result {
  const key = keyOf({ metric, settings });
  const result = report.results.find((result) => keyOf(result) === key);
  assert.ok(result, `${report.suite} has no ${key}`);
  return result;
}

export function numberOf(report: Report, metric: string, settings?: Settings): number {
  return resultOf(report, metric, settings).value;
}

/** First token after 10 ms, the next ones every 2 ms; a little more in each repetition. */
export class ScriptedTarget implements Target {
  readonly environment: Environment = ENVIRONMENT;
  readonly limits = { maxSequences: 20, blocks: 512, maxBatchTokens: 64 };
  readonly hasTimestamps: boolean = true;
  readonly matrices = [{ kernel: "matmul_q8_0", rows: 1000, columns: 1000, bytes: 1_062_500 }];
  readonly startup = 120;
  readonly loadTime = 250;
  /** Decode steps that the device chains in a submit. */
  chained = 1;
  /** ms between two tokens of the first serving. */
  interval = 2;
  /** Called before each serving with how many there were. */
  onServe: (count: number) => void = () => {};
  #time = 1000;
  #servings = 0;

  readonly text = {
    encode: (text: string) => {
      this.#time += 0.5;
      return Array.from(text, (c) => c.codePointAt(0)! % 512);
    },
    decode: (ids: readonly number[]) => {
      this.#time += 0.02;
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
    { sharePrefixes = false }: SessionOptions,
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
            // By the second prompt that begins so; later ones find the same blocks.
            blocksShared: cacheUse.blocksShared + (seen.length === 1 ? hits : 0),
            hits: cacheUse.hits + hits,
            misses: cacheUse.misses + Math.floor(promptIds.length / 16) - hits,
            tokensSaved: cacheUse.tokensSaved + 16 * hits,
          };
          if (sharePrefixes) seen.push(promptIds);
          return 16 * hits;
        });
        return Promise.resolve(this.serve(requests, options, saved));
      },
      holdSequences: (prompts) => Promise.resolve(holdSequences(prompts, sharePrefixes)),
    });
  }

  /** Serves requests of which so many prompt tokens are cached, which saves time. */
  serve(
    requests: readonly BenchRequest[],
    options: ServeOptions,
    saved: readonly number[],
  ): Serving {
    this.onServe(this.#servings);
    const interval = this.interval + 0.1 * (this.#servings++ % 3);
    const sequential = options.arrival === "sequential";
    const served: Served[] = [];
    const steps: HostStep[] = [];
    for (const [i, { promptIds, maxTokens }] of requests.entries()) {
      const submitted = sequential ? this.#time : 1000 * this.#servings;
      const begin = submitted + 10 - 8 * saved[i]! / promptIds.length;
      const ids = Array.from({ length: maxTokens }, (_, i) => (promptIds[0]! + i) % 512);
      const times = ids.map((_, i) => begin + i * interval);
      served.push({ ids, submitted, times });
      // Those that are served together come in the same steps.
      const sequences = sequential ? 1 : requests.length;
      if (steps.length > 0 && !sequential) continue;
      for (const [i, time] of times.entries()) {
        steps.push({
          tokens: sequences * (i === 0 ? promptIds.length : 1),
          sequences,
          chained: this.chained,
          submitStart: time - 1.5,
          submitEnd: time - 1.25,
          readStart: time - 1,
          readEnd: time,
          ...(options.profile && TIMED[Math.max(0, i - 1) % 4]),
        });
      }
      this.#time = times.at(-1)!;
    }
    return { requests: served, steps };
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
        kernel: "sampling sample_pick",
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
      kvTokens: 16,
      peakRss: 90_000_000,
    };
  }
}

/** Full blocks of a prompt that these begin with too; its last token is always computed. */
function knownBlocks(promptIds: readonly number[], seen: readonly (readonly number[])[]): number {
  const known = Math.max(0, ...seen.map((prompt) => sharedLength(prompt, promptIds)));
  return Math.floor(Math.min(known, promptIds.length - 1) / 16);
}

function sharedLength(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((id, i) => id !== b[i]);
  return end === -1 ? a.length : end;
}

function holdSequences(prompts: readonly (readonly number[])[], share: boolean): HeldBlocks {
  const tokens = prompts.map((prompt) => prompt.length);
  const held = tokens.reduce((sum, length) => sum + Math.ceil(length / 16), 0);
  return { used: share ? Math.ceil(held / 2) : held, held, tokens };
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
