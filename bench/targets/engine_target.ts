/** The target for a real model, with the facts about its device and process. */

import { encodeText } from "../../engine/prompt.ts";
import process from "node:process";
import type { Model } from "../../engine/mod.ts";
import { probeCpu } from "../../engine/cpu/probe.ts";
import { CpuRunner } from "../../engine/cpu/runner.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { TextStream } from "../../engine/text/streaming.ts";
import { openKernels } from "../kernels/cases.ts";
import type { KernelBench, KernelChoice } from "../kernels/kernel_bench.ts";
import type { Environment } from "../report/report.ts";
import { EngineSession } from "./engine_session.ts";
import { kernelDump } from "./kernel_dump.ts";
import { modelEnvironment, modelMatrices, type Program } from "./environment.ts";
import { pausesFor } from "../../engine/run/event_loop.ts";
import { probeGpu } from "./probe.ts";
import type { MemoryUse, Probe, Session, SessionOptions, Target } from "./target.ts";
import { TimedRunner } from "./timed_runner.ts";

export class EngineTarget implements Target {
  readonly environment: Environment;
  readonly limits: Target["limits"];
  readonly matrices: Target["matrices"];
  readonly text: Target["text"];
  readonly startup: Target["startup"];
  readonly loadTimes: Target["loadTimes"];
  readonly #runner: TimedRunner;
  readonly #gpu: GpuRunner | undefined;
  readonly #cpu: CpuRunner | undefined;
  #probe: Promise<Probe | null> | undefined;

  private constructor(readonly model: Model, program: Program, readonly signal?: AbortSignal) {
    this.#runner = new TimedRunner(model.runner);
    this.#gpu = model.runner instanceof GpuRunner ? model.runner : undefined;
    this.#cpu = model.runner instanceof CpuRunner ? model.runner : undefined;
    this.environment = modelEnvironment(model, this.#gpu?.gpu, program);
    // The cache can grow up to the budget of the model's own engine.
    this.limits = { ...model.runner.limits, blocks: model.engine.stats.blocks.budget };
    this.matrices = modelMatrices(model);
    this.startup = program.startup;
    const kernels = this.#gpu?.pipelines.milliseconds ?? model.loadTimes.kernels;
    this.loadTimes = { ...model.loadTimes, kernels };
    const { tokenizer } = model;
    this.text = {
      encode: (text, options) => encodeText(tokenizer, text, options),
      decode: (ids, continues) => tokenizer.decode(ids, { continues }),
      stream: () => new TextStream(tokenizer),
    };
  }

  /** `signal` aborts the work in progress, which then throws its reason. */
  static async open(model: Model, program: Program, signal?: AbortSignal): Promise<EngineTarget> {
    // Compile all kernels now, so that measurements do not include compiling.
    await model.runner.compileAll?.(pausesFor(signal));
    return new EngineTarget(model, program, signal);
  }

  get hasTimestamps(): boolean {
    // On the CPU the host's own clock times each kernel.
    return this.#gpu?.gpu.features.has("timestamp-query") ?? this.#cpu !== undefined;
  }

  get features(): readonly string[] | undefined {
    return this.#gpu && [...this.#gpu.gpu.features].sort();
  }

  get hasServed(): boolean {
    return this.#runner.hasRun;
  }

  now(): number {
    return performance.now();
  }

  /** Measured once for all suites. */
  probe(): Promise<Probe | null> {
    const pause = pausesFor(this.signal);
    if (this.#gpu) return this.#probe ??= probeGpu(this.#gpu.gpu, pause);
    if (this.#cpu) return this.#probe ??= probeCpu(this.#cpu.threads, this.#cpu.form, pause);
    return Promise.resolve(null);
  }

  async withSession<T>(
    { sharePrefixes = false, batchTokens, keep }: SessionOptions,
    use: (session: Session) => Promise<T>,
  ): Promise<T> {
    const { model, signal } = this;
    const { contextLength, tokenizer } = model;
    const options = {
      runner: this.#runner,
      ...(!sharePrefixes && { prefixCacheBlocks: 0 }),
      ...(batchTokens !== undefined && { maxBatchTokens: batchTokens }),
      ...(keep && { keep }),
    };
    try {
      return await model.withEngine(options, async (engine) => {
        const stop = () => void engine.stop();
        signal?.addEventListener("abort", stop);
        try {
          const kind = { tokenizer, sharePrefixes, contextLength, signal };
          return await use(new EngineSession(engine, this.#runner, kind));
        } finally {
          signal?.removeEventListener("abort", stop);
        }
      });
    } finally {
      this.#runner.begin(false);
    }
  }

  kernels(choice: KernelChoice): Promise<KernelBench | null> {
    return this.#gpu === undefined
      ? Promise.resolve(null)
      : openKernels(this.environment.model, choice, pausesFor(this.signal));
  }

  /** The kernels of the model and their launches; undefined if the model does not run on a GPU. */
  kernelDump(): string | undefined {
    return this.#gpu && kernelDump(this.#gpu);
  }

  memory(): MemoryUse {
    return {
      buffers: this.#gpu ? { ...this.#gpu.gpu.memory } : this.#cpu?.memory ?? null,
      // maxRSS is in KiB, as getrusage(2) reports it.
      peakRss: process.resourceUsage().maxRSS * 1024,
    };
  }

  get compiled(): number {
    return this.#gpu?.pipelines.count ?? 0;
  }

  get copied(): Target["copied"] {
    return { ...this.#gpu?.gpu.copied ?? { toDevice: 0, toHost: 0 } };
  }

  margins(promptIds: readonly number[], ids: readonly number[]): Promise<number[]> {
    const runner = this.#runner;
    return this.model.withEngine({ runner, prefixCacheBlocks: 0 }, async (engine) => {
      const { positions } = await engine.score([...promptIds, ...ids], { top: 1 });
      return positions.slice(promptIds.length - 1, -1)
        .map(({ top: [best], nextLogprob }) => best![1] - nextLogprob!);
    });
  }
}
