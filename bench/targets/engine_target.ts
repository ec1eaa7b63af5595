/** The target that is a real model: served by engines of its own, so that no run meets another's cache. */

import { BLOCK_TOKENS, GREEDY } from "../../engine/run/runner.ts";
import type { Model } from "../../engine/mod.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import type { TokenStream } from "../../engine/run/token_stream.ts";
import { TextStream } from "../../engine/text/streaming.ts";
import { modelEnvironment, modelMatrices } from "./environment.ts";
import { probeGpu } from "./probe.ts";
import { openKernels } from "../kernels/cases.ts";
import type { Environment, RunOptions } from "../report/report.ts";
import type {
  BenchRequest,
  CachedServing,
  HeldBlocks,
  KernelBench,
  MemoryUse,
  Probe,
  RoundsServing,
  Served,
  ServeOptions,
  Serving,
  Target,
} from "./target.ts";
import { TimedRunner } from "./timed_runner.ts";

// Each request arrives when the one before has this many tokens.
const STAGGER_TOKENS = 4;
// ms between two looks at the process's memory, of about 20 µs each.
const RSS_INTERVAL = 100;

/** What is known of the program that runs the benchmark. */
export interface Program {
  readonly tvllm: string;
  readonly kvType: "f16" | "f32";
  /** ms from the start of the process until the command ran. */
  readonly startup: number;
}

export class EngineTarget implements Target {
  readonly environment: Environment;
  readonly limits: Target["limits"];
  readonly matrices: Target["matrices"];
  readonly text: Target["text"];
  readonly startup: number;
  readonly loadTime: number;
  readonly #runner: TimedRunner;
  readonly #gpu: GpuRunner | undefined;
  #probe: Promise<Probe | null> | undefined;
  #peakRss = 0;
  #served = false;

  /** `signal` cuts off what is being served, which then throws its reason. */
  constructor(readonly model: Model, program: Program, readonly signal?: AbortSignal) {
    this.#runner = new TimedRunner(model.runner);
    this.#gpu = model.runner instanceof GpuRunner ? model.runner : undefined;
    this.environment = modelEnvironment(model, this.#gpu?.gpu, program);
    // The cache grows up to what the model's own engine may have.
    this.limits = { ...model.runner.limits, blocks: model.engine.stats.blocks.budget };
    this.matrices = modelMatrices(model);
    this.startup = program.startup;
    this.loadTime = model.loadTime;
    this.#noteRss();
    const { tokenizer } = model;
    this.text = {
      encode: (text) => tokenizer.encode(text),
      decode: (ids, continues) => tokenizer.decode(ids, { continues }),
      stream: () => new TextStream(tokenizer),
    };
  }

  get hasTimestamps(): boolean {
    return this.#gpu?.gpu.features.has("timestamp-query") ?? false;
  }

  get hasServed(): boolean {
    return this.#served;
  }

  now(): number {
    return performance.now();
  }

  /** Measured once, however many suites ask. */
  probe(): Promise<Probe | null> {
    return this.#probe ??= this.#gpu === undefined
      ? Promise.resolve(null)
      : probeGpu(this.#gpu.gpu);
  }

  async serve(requests: readonly BenchRequest[], options: ServeOptions = {}): Promise<Serving> {
    const { arrival = "together" } = options;
    this.#runner.begin(options.profile === true && this.hasTimestamps);
    return await this.#withEngine(false, async (engine) => {
      const served: Promise<Served>[] = [];
      for (const request of requests) {
        const reading = consume(engine.submit(toGeneration(request)));
        served.push(reading.done);
        if (arrival === "in-turn") await reading.done;
        if (arrival === "staggered") await reading.begun;
      }
      return { requests: await Promise.all(served), steps: [...this.#runner.steps] };
    });
  }

  serveCached(requests: readonly BenchRequest[]): Promise<CachedServing[]> {
    return this.#withEngine(true, async (engine) => {
      const results: CachedServing[] = [];
      for (const request of requests) {
        const before = engine.stats.prefix;
        const steps = this.#runner.steps.length;
        const served = await consume(engine.submit(toGeneration(request))).done;
        const after = engine.stats.prefix;
        results.push({
          served,
          steps: this.#runner.steps.slice(steps),
          hits: after.hits - before.hits,
          misses: after.misses - before.misses,
          tokensSaved: after.tokensSaved - before.tokensSaved,
        });
      }
      return results;
    });
  }

  serveRounds(
    rounds: readonly (readonly BenchRequest[])[],
    { share, arrival }: { readonly share: boolean; readonly arrival: "together" | "in-turn" },
  ): Promise<RoundsServing> {
    return this.#withEngine(share, async (engine) => {
      const requests: Served[] = [];
      for (const round of rounds) {
        const turns = arrival === "together" ? [round] : round.map((request) => [request]);
        for (const turn of turns) {
          const streams = turn.map((request) => consume(engine.submit(toGeneration(request))));
          requests.push(...await Promise.all(streams.map(({ done }) => done)));
        }
      }
      const { blocks, prefix } = engine.stats;
      return {
        requests,
        steps: [...this.#runner.steps],
        blocksAllocated: blocks.allocations,
        blocksShared: prefix.blocksShared,
        hits: prefix.hits,
        tokensSaved: prefix.tokensSaved,
      };
    });
  }

  hold(prompts: readonly (readonly number[])[], share: boolean): Promise<HeldBlocks> {
    return this.#withEngine(share, async (engine) => {
      const endless = (promptIds: readonly number[]) =>
        engine.submit(toGeneration({ promptIds, maxTokens: this.model.contextLength }));
      const streams: TokenStream[] = [];
      for (const [i, prompt] of prompts.entries()) {
        const stream = endless(prompt);
        streams.push(stream);
        // What the first one computes is there for the others only when it is done.
        if (share && i === 0) await stream.next();
      }
      await Promise.all(streams.slice(share ? 1 : 0).map((stream) => stream.next()));
      const sequences = streams.map((stream) => stream.sequence);
      return {
        used: engine.stats.blocks.used,
        held: sequences.reduce((sum, sequence) => sum + sequence.blocks.tables[0]!.length, 0),
        tokens: sequences.map((sequence) => sequence.computed),
      };
    });
  }

  kernels(options: Pick<RunOptions, "only" | "shape">): Promise<KernelBench | null> {
    return this.#gpu === undefined
      ? Promise.resolve(null)
      : openKernels(this.environment.model, options);
  }

  memory(): MemoryUse {
    this.#noteRss();
    return {
      buffers: this.#gpu ? { ...this.#gpu.gpu.memory } : null,
      kvTokens: this.#runner.limits.blocks[0]! * BLOCK_TOKENS,
      peakRss: this.#peakRss,
    };
  }

  // The system's own count of the peak takes a permission that the program does without.
  #noteRss(): void {
    this.#peakRss = Math.max(this.#peakRss, Deno.memoryUsage().rss);
  }

  /** Runs `use` on an engine of its own, which has nothing left to do afterwards. */
  async #withEngine<T>(share: boolean, use: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = new Engine(this.#runner, {
      ...this.model.engineOptions,
      ...(!share && { prefixCacheBlocks: 0 }),
    });
    const stop = () => void engine.stop();
    this.signal?.addEventListener("abort", stop);
    const looking = setInterval(() => this.#noteRss(), RSS_INTERVAL);
    this.#served = true;
    try {
      const result = await use(engine);
      this.signal?.throwIfAborted();
      return result;
    } finally {
      this.signal?.removeEventListener("abort", stop);
      await engine.stop();
      this.#runner.begin(false);
      clearInterval(looking);
      this.#noteRss();
    }
  }
}

function toGeneration({ promptIds, maxTokens }: BenchRequest) {
  return { promptIds, maxTokens, sampling: GREEDY, stopIds: [] };
}

/** Reads a stream as a user of it would, and notes when each token comes. */
function consume(stream: TokenStream): { begun: Promise<void>; done: Promise<Served> } {
  const begun = Promise.withResolvers<void>();
  const read = async () => {
    const ids: number[] = [];
    const times: number[] = [];
    try {
      for await (const { id } of stream) {
        times.push(performance.now());
        if (ids.push(id) === STAGGER_TOKENS) begun.resolve();
      }
    } finally {
      begun.resolve();
    }
    return { ids, times, submitted: stream.timings.submitted };
  };
  const done = read();
  // Who awaits it hears of an error; until then, as others arrive, it must not count as unhandled.
  done.catch(() => {});
  return { begun: begun.promise, done };
}
