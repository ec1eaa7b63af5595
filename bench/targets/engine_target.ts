/** The target that is a real model, and what is known of its device and process. */

import type { Model } from "../../engine/mod.ts";
import { probeCpu } from "../../engine/cpu/probe.ts";
import { CpuRunner } from "../../engine/cpu/runner.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { TextStream } from "../../engine/text/streaming.ts";
import { openKernels } from "../kernels/cases.ts";
import type { KernelBench, KernelChoice } from "../kernels/kernel_bench.ts";
import type { Environment } from "../report/report.ts";
import { EngineSession } from "./engine_session.ts";
import { modelEnvironment, modelMatrices } from "./environment.ts";
import { probeGpu } from "./probe.ts";
import type { MemoryUse, Probe, Session, SessionOptions, Target } from "./target.ts";
import { TimedRunner } from "./timed_runner.ts";

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
  readonly #cpu: CpuRunner | undefined;
  #probe: Promise<Probe | null> | undefined;
  #peakRss = 0;

  /** `signal` cuts off what is being served, which then throws its reason. */
  constructor(readonly model: Model, program: Program, readonly signal?: AbortSignal) {
    this.#runner = new TimedRunner(model.runner);
    this.#gpu = model.runner instanceof GpuRunner ? model.runner : undefined;
    this.#cpu = model.runner instanceof CpuRunner ? model.runner : undefined;
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
    // On the CPU the host's own clock times each kernel.
    return this.#gpu?.gpu.features.has("timestamp-query") ?? this.#cpu !== undefined;
  }

  get hasServed(): boolean {
    return this.#runner.hasRun;
  }

  now(): number {
    return performance.now();
  }

  /** Measured once, however many suites ask. */
  probe(): Promise<Probe | null> {
    if (this.#gpu) return this.#probe ??= probeGpu(this.#gpu.gpu);
    if (this.#cpu) return this.#probe ??= probeCpu(this.#cpu.threads, this.#cpu.form);
    return Promise.resolve(null);
  }

  async withSession<T>(
    { sharePrefixes = false }: SessionOptions,
    use: (session: Session) => Promise<T>,
  ): Promise<T> {
    const { model, signal } = this;
    const { contextLength } = model;
    const options = { runner: this.#runner, ...(!sharePrefixes && { prefixCacheBlocks: 0 }) };
    const looking = setInterval(() => this.#noteRss(), RSS_INTERVAL);
    try {
      return await model.withEngine(options, async (engine) => {
        const stop = () => void engine.stop();
        signal?.addEventListener("abort", stop);
        try {
          const kind = { sharePrefixes, contextLength, signal };
          return await use(new EngineSession(engine, this.#runner, kind));
        } finally {
          signal?.removeEventListener("abort", stop);
        }
      });
    } finally {
      this.#runner.begin(false);
      clearInterval(looking);
      this.#noteRss();
    }
  }

  kernels(choice: KernelChoice): Promise<KernelBench | null> {
    return this.#gpu === undefined
      ? Promise.resolve(null)
      : openKernels(this.environment.model, choice);
  }

  memory(): MemoryUse {
    this.#noteRss();
    return {
      buffers: this.#gpu ? { ...this.#gpu.gpu.memory } : this.#cpu?.memory ?? null,
      kvTokens: this.#runner.limits.blocks[0]! * BLOCK_TOKENS,
      peakRss: this.#peakRss,
    };
  }

  // The system's own count of the peak takes a permission that the program does without.
  #noteRss(): void {
    this.#peakRss = Math.max(this.#peakRss, Deno.memoryUsage().rss);
  }
}
