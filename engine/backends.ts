/** Chooses the backend that runs a model: the GPU, or the CPU where there is no hardware one. */

import type { KvType } from "../kernels/sizes.ts";
import { loadCpuRunner } from "./cpu/load_runner.ts";
import { DeviceError } from "./errors.ts";
import type { ModelFile } from "./files/model_file.ts";
import { findAdapter, type Gpu, openGpu } from "./gpu/device.ts";
import type { ModelConfig } from "./model/config.ts";
import { blocksFor } from "./run/block_manager.ts";
import type { Pause } from "./run/event_loop.ts";
import type { ModelRunner } from "./run/runner.ts";

/** Tokens that a GPU's KV cache has room for before it grows. */
const FIRST_TOKENS = 512;

/** What the runner is made for. */
export interface BackendOptions {
  /** Default "auto": a hardware GPU, or the CPU if there is none. */
  readonly device?: "auto" | "gpu" | "cpu";
  /** Threads of the CPU. */
  readonly threads?: number;
  readonly maxSequences: number;
  readonly kv: KvType;
  /** Blocks that the KV cache may ever have, by group of layers. */
  readonly maxBlocks: readonly number[];
  /** Blocks that each group of a cache that cannot grow should have, at most `maxBlocks`. */
  readonly fixedBlocks: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
  /** Called once when the device is open, before most weights are read; threads pack some meanwhile. */
  readonly meanwhile?: () => void;
  /** Called between pieces of the work; what it throws ends the load. */
  readonly pause: Pause;
}

/** A model on its device. */
export interface Backend {
  readonly runner: ModelRunner;
  /** Why the CPU runs it although the GPU was not ruled out; undefined otherwise. */
  readonly fallback: string | undefined;
  /** `performance.now()` when the device was open. */
  readonly opened: number;
  /** ms that compiling the kernels took. */
  readonly compiled: number;
  /** Decode steps that are best chained in one submit. */
  readonly steps: number;
  /** Why launch sizes that were measured are not used, if they are not. */
  readonly note: string | undefined;
}

/**
 * Puts the weights on a device; the config's context length is that of the longest sequence.
 *
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is none; "out-of-memory".
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
    // The GPU's kernels are read when one is there to run them.
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

/** Why the CPU is the better choice; undefined where there is a hardware adapter. */
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
