/** Chooses the backend that runs a model: the GPU, or the CPU where there is none. */

import type { KvType } from "../kernels/specs.ts";
import { tuningFor } from "../kernels/tuning.ts";
import { DeviceError } from "./errors.ts";
import type { ModelFile } from "./files/model_file.ts";
import { type Gpu, openGpu } from "./gpu/device.ts";
import { GpuRunner } from "./gpu/runner.ts";
import type { ModelConfig } from "./model/config.ts";
import { loadReferenceRunner } from "./reference/runner.ts";
import { blocksFor } from "./run/block_manager.ts";
import type { ModelRunner } from "./run/runner.ts";

/** Tokens that a GPU's KV cache has room for before it grows. */
const FIRST_TOKENS = 512;

/** What the runner is made for. */
export interface BackendOptions {
  /** Default: the GPU, or the CPU where there is no adapter. */
  readonly device?: "gpu" | "cpu";
  readonly maxSequences: number;
  readonly kv: KvType;
  /** Blocks that the KV cache may ever have, by group of layers. */
  readonly maxBlocks: readonly number[];
  /** Blocks that each group of a cache that cannot grow should have, at most `maxBlocks`. */
  readonly fixedBlocks: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
}

/** A model on its device. */
export interface Backend {
  readonly runner: ModelRunner;
  /** Why the CPU runs it although the GPU was not ruled out; undefined otherwise. */
  readonly fallback: string | undefined;
}

/**
 * Puts the weights on a device; the config's context length is that of the longest sequence.
 *
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is none; "out-of-memory".
 * @throws {UnsupportedError} if the device has no kernel for one of the tensors.
 */
export async function openBackend(
  model: { readonly file: ModelFile; readonly config: ModelConfig },
  { device, maxSequences, kv, maxBlocks, fixedBlocks, progress }: BackendOptions,
): Promise<Backend> {
  const { file, config } = model;
  const atMost = (blocks: number) => maxBlocks.map((most) => Math.min(most, blocks));
  let fallback: string | undefined;
  if (device !== "cpu") {
    let gpu: Gpu | undefined;
    try {
      gpu = await openGpu();
      const runner = await GpuRunner.load(gpu, model, {
        contextLength: config.contextLength,
        blocks: atMost(blocksFor(FIRST_TOKENS)),
        maxSequences,
        kv,
        ...(progress && { progress }),
      });
      return { runner, fallback: undefined };
    } catch (error) {
      gpu?.device.destroy();
      const none = error instanceof DeviceError && error.kind === "no-adapter";
      if (device === "gpu" || !none) throw error;
      fallback = error.message;
    }
  }
  const runner = inMemory(config, () =>
    loadReferenceRunner(file, config, {
      blocks: atMost(fixedBlocks),
      maxSequences,
      maxBatchTokens: tuningFor("software").batchTokens,
      kvType: kv,
    }));
  return { runner, fallback };
}

/** What V8 says, by a RangeError, when it cannot make an array. */
const NO_MEMORY = /^(Array buffer allocation failed|Invalid (typed )?array (buffer )?length)/;

/** Runs `load`, and says what to do if the memory does not suffice. */
function inMemory<T>({ name, contextLength }: ModelConfig, load: () => T): T {
  try {
    return load();
  } catch (cause) {
    if (!(cause instanceof RangeError) || !NO_MEMORY.test(cause.message)) throw cause;
    throw new DeviceError(
      "out-of-memory",
      `Cannot load ${name} with a context of ${contextLength} tokens: the memory does not suffice; ` +
        `lower the context size (contextLength, --ctx-size) or the KV memory (kvMemory, --kv-memory)`,
      { cause },
    );
  }
}
