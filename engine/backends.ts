/** Chooses the backend that runs a model: the GPU, or the CPU if there is no hardware GPU. */

import type { KvType } from "../kernels/sizes.ts";
import { loadCpuRunner } from "./cpu/load_runner.ts";
import { DeviceError } from "./errors.ts";
import type { ModelFile } from "./files/model_file.ts";
import { findAdapter, type Gpu, openGpu } from "./gpu/device.ts";
import type { ModelConfig } from "./model/config.ts";
import { blocksFor } from "./run/block_manager.ts";
import type { Pause } from "./run/event_loop.ts";
import type { ModelRunner } from "./run/runner.ts";

/** Initial capacity of a GPU's KV cache in tokens; it grows when more are needed. */
const FIRST_TOKENS = 512;

/** How to create the runner. */
export interface BackendOptions {
  /** Default "auto": a hardware GPU, or the CPU if there is none. */
  readonly device?: "auto" | "gpu" | "cpu";
  /** Threads of the CPU backend. */
  readonly threads?: number;
  readonly maxSequences: number;
  readonly kv: KvType;
  /** Maximum number of KV cache blocks, for each group of layers. */
  readonly maxBlocks: readonly number[];
  /**
   * Blocks to allocate for each group if the cache cannot grow (on the CPU), limited by
   * `maxBlocks`.
   */
  readonly fixedBlocks: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
  /**
   * Called once when the device is open, before most of the weights are read. On the CPU, the
   * threads pack the first weights at the same time.
   */
  readonly meanwhile?: () => void;
  /** Called between pieces of the work; an error that it throws ends the load. */
  readonly pause: Pause;
}

/** A model loaded on a device. */
export interface Backend {
  readonly runner: ModelRunner;
  /** Why the CPU runs the model although a GPU was allowed; undefined otherwise. */
  readonly fallback: string | undefined;
  /** `performance.now()` when the device had been opened. */
  readonly opened: number;
  /** Time it took to compile the kernels, in ms. */
  readonly compiled: number;
  /** Number of decode steps to chain in one submit. */
  readonly steps: number;
  /** Why the launch sizes measured by `tvllm tune` are ignored; undefined if they are not. */
  readonly note: string | undefined;
}

/**
 * Loads the weights onto a device. The config's context length must be the length of the longest
 * sequence to serve.
 *
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is no adapter; "out-of-memory".
 * @throws {UnsupportedError} if the device has no kernel for one of the tensors.
 */
export async function openBackend(
  model: { readonly file: ModelFile; readonly config: ModelConfig },
  options: BackendOptions,
): Promise<Backend> {
  const { device = "auto", threads, maxSequences, kv, maxBlocks, fixedBlocks, progress } = options;
  const { meanwhile, pause } = options;
  const { file, config } = model;
  const atMost = (blocks: number) => maxBlocks.map((most) => Math.min(most, blocks));
  const shared = { maxSequences, pause, ...(progress && { progress }) };
  const onCpu = async (fallback?: string): Promise<Backend> => {
    const opened = performance.now();
    const runner = await loadCpuRunner(file, config, {
      ...shared,
      blocks: atMost(fixedBlocks),
      kvType: kv,
      ...(threads !== undefined && { threads }),
      ...(meanwhile && { meanwhile }),
    });
    return { runner, fallback, opened, compiled: 0, steps: 1, note: undefined };
  };
  await pause();
  if (device === "cpu") return await onCpu();
  const reason = device === "auto" ? await whyNoGpu() : undefined;
  if (reason !== undefined) return await onCpu(reason);
  let gpu: Gpu | undefined;
  try {
    gpu = await openGpu();
    const opened = performance.now();
    await pause();
    // The GPU kernels are imported only once there is a GPU to run them.
    const { tunedFor } = await import("./tuned.ts");
    const { GpuRunner } = await import("./gpu/runner.ts");
    const { tuning, source, note } = tunedFor(gpu);
    meanwhile?.();
    await pause();
    const runner = await GpuRunner.load(gpu, model, {
      ...shared,
      tuning,
      tuningSource: source,
      contextLength: config.contextLength,
      blocks: atMost(blocksFor(FIRST_TOKENS)),
      kv,
    });
    const compiled = runner.pipelines.milliseconds;
    return { runner, fallback: undefined, opened, compiled, steps: tuning.steps, note };
  } catch (error) {
    gpu?.device.destroy();
    // An adapter that lacks what the kernels need counts as no adapter.
    const none = error instanceof DeviceError && error.kind === "no-adapter";
    if (device === "gpu" || !none) throw error;
    return await onCpu(error.message);
  }
}

/** Returns why the CPU is the better choice, or undefined if there is a hardware adapter. */
async function whyNoGpu(): Promise<string | undefined> {
  try {
    const { description, driver } = await findAdapter();
    return driver === "hardware"
      ? undefined
      : `the only GPU adapter, ${description}, is a software driver`;
  } catch (error) {
    if (error instanceof DeviceError && error.kind === "no-adapter") return error.message;
    throw error;
  }
}
