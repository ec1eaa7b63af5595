/** A target whose clock and measurements are scripted, so that a report is the same to the letter. */

import type { Environment, RunOptions } from "../../bench/report/report.ts";
import type {
  BenchRequest,
  CachedServing,
  HeldBlocks,
  HostStep,
  KernelBench,
  MemoryUse,
  Probe,
  RoundsServing,
  Served,
  ServeOptions,
  Serving,
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

  serve(requests: readonly BenchRequest[], options: ServeOptions = {}): Promise<Serving> {
    this.onServe(this.#servings);
    const interval = this.interval + 0.1 * (this.#servings++ % 3);
    const served: Served[] = [];
    const steps: HostStep[] = [];
    for (const { promptIds, maxTokens } of requests) {
      const inTurn = options.arrival === "in-turn";
      const submitted = inTurn ? this.#time : 1000 * this.#servings;
      const ids = Array.from({ length: maxTokens }, (_, i) => (promptIds[0]! + i) % 512);
      const times = ids.map((_, i) => submitted + 10 + i * interval);
      served.push({ ids, submitted, times });
      // Those that are served together come in the same steps.
      const sequences = inTurn ? 1 : requests.length;
      if (steps.length > 0 && !inTurn) continue;
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
    return Promise.resolve({
      requests: served,
      steps,
    });
  }

  async serveCached(requests: readonly BenchRequest[]): Promise<CachedServing[]> {
    const results: CachedServing[] = [];
    const seen: number[][] = [];
    for (const request of requests) {
      const { promptIds } = request;
      const known = Math.max(0, ...seen.map((prompt) => sharedLength(prompt, promptIds)));
      const tokensSaved = Math.floor(Math.min(known, promptIds.length - 1) / 16) * 16;
      const { requests: [served], steps } = await this.serve([request], { arrival: "in-turn" });
      const times = served!.times.map((time) => time - 8 * tokensSaved / promptIds.length);
      const misses = Math.floor(promptIds.length / 16) - tokensSaved / 16;
      const hits = tokensSaved / 16;
      results.push({ served: { ...served!, times }, steps, hits, misses, tokensSaved });
      seen.push([...promptIds]);
    }
    return results;
  }

  async serveRounds(
    rounds: readonly (readonly BenchRequest[])[],
    { share, arrival }: { readonly share: boolean; readonly arrival: "together" | "in-turn" },
  ): Promise<RoundsServing> {
    const requests: Served[] = [];
    const steps: HostStep[] = [];
    for (const round of rounds) {
      const { requests: served, steps: own } = await this.serve(round, { arrival });
      steps.push(...own);
      requests.push(...served.map((one) => ({
        ...one,
        times: one.times.map((time) => time - (share ? 5 : 0)),
      })));
    }
    const count = requests.length;
    return {
      requests,
      steps,
      blocksAllocated: share ? 4 + count : 5 * count,
      blocksShared: share ? 4 : 0,
      hits: share ? 4 * (count - 1) : 0,
      tokensSaved: share ? 64 * (count - 1) : 0,
    };
  }

  hold(prompts: readonly (readonly number[])[], share: boolean): Promise<HeldBlocks> {
    const blocks = prompts.map((prompt) => Math.ceil(prompt.length / 16));
    const held = blocks.reduce((a, b) => a + b, 0);
    return Promise.resolve({
      used: share ? Math.ceil(held / 2) : held,
      held,
      tokens: prompts.map((prompt) => prompt.length),
    });
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

function sharedLength(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((id, i) => id !== b[i]);
  return end === -1 ? a.length : end;
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

/** How decode steps are timed by turns. Timing adds 10 µs to each pass. */
const TIMED: readonly Pick<HostStep, "timing" | "kernels">[] = [
  TIMED_EACH,
  {},
  {},
  { timing: "together", kernels: [{ name: "embed_q8_0", milliseconds: 1.66 }] },
];
