/** Loads a model into the memory that the CPU's threads share. */

import type { KvType } from "../../kernels/sizes.ts";
import { makeKernels } from "../../kernels/wasm/module.ts";
import type { ProductForm } from "../../kernels/wasm/products.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig } from "../model/config.ts";
import { kvGroups } from "../model/kv_groups.ts";
import { recurrentOf } from "../model/mixers.ts";
import { type Pause, pausesFor, StepPauses } from "../run/event_loop.ts";
import { BLOCK_TOKENS } from "../run/runner.ts";
import { fastestForm } from "./forms.ts";
import { KvCache } from "./kv_cache.ts";
import { Layout, SharedMemory } from "./memory.ts";
import { CpuRunner } from "./runner.ts";
import { Scratch } from "./scratch.ts";
import { StateCache } from "./state_cache.ts";
import { Stepper } from "./step.ts";
import { controlBytes, StartingWorkers, ThreadPool } from "./thread_pool.ts";
import { keepFastestThreads } from "./tune.ts";
import { WeightPlan } from "./weights.ts";

/** Options of a CPU runner. */
export interface CpuRunnerOptions {
  /**
   * KV cache blocks of each group of layers. Default: those of one sequence of the context length,
   * at most 4,096 tokens.
   */
  readonly blocks?: readonly number[];
  /** Default: 8. */
  readonly maxSequences?: number;
  /** Default: as many as take about half a second, at most 128. */
  readonly maxBatchTokens?: number;
  /** Element type of the KV cache. Default: f16. */
  readonly kvType?: KvType;
  /**
   * Number of threads, including the caller's. Default: the fastest number, up to one per logical
   * processor.
   */
  readonly threads?: number;
  /** The form of the integer dot product. Default: the one that is fastest on this machine. */
  readonly form?: ProductForm;
  /** Called with the bytes of weights read so far. */
  readonly progress?: (bytes: number) => void;
  /** Called after each piece that is read. An error that it throws ends the load. */
  readonly pause?: Pause;
  /** Called once, while the threads pack the weights that were read first. */
  readonly meanwhile?: () => void;
}

/**
 * Loads a model into memory that all threads share. Weights are repacked as they are read. A
 * token's results are bit-identical alone and in any batch, with any number of threads.
 *
 * @throws {ModelFormatError} if the file lacks a weight that `config` requires, or was truncated.
 * @throws {DeviceError} "out-of-memory" if the system cannot allocate enough memory.
 */
export async function loadCpuRunner(
  file: ModelFile,
  config: ModelConfig,
  options: CpuRunnerOptions = {},
): Promise<CpuRunner> {
  const threads = options.threads ?? navigator.hardwareConcurrency;
  const starting = new StartingWorkers(threads - 1);
  try {
    return await loadOn(starting, { file, config, threads, options });
  } catch (error) {
    starting.terminate();
    throw error;
  }
}

async function loadOn(
  starting: StartingWorkers,
  { file, config, threads, options }: {
    readonly file: ModelFile;
    readonly config: ModelConfig;
    readonly threads: number;
    readonly options: CpuRunnerOptions;
  },
): Promise<CpuRunner> {
  const longest = Math.min(config.contextLength, 4096);
  const given = {
    blocks: options.blocks ?? kvGroups(config).map(() => Math.ceil(longest / BLOCK_TOKENS)),
    maxSequences: options.maxSequences ?? 8,
  };
  const layout = new Layout();
  const control = layout.allocate(controlBytes(threads));
  const plan = new WeightPlan(file, config, layout);
  const limits = { ...given, maxBatchTokens: options.maxBatchTokens ?? batchTokens(plan) };
  const weightBytes = layout.bytes;
  const scratch = new Scratch(layout, config, {
    tokens: limits.maxBatchTokens,
    sequences: limits.maxSequences,
    contextLength: Math.min(config.contextLength, limits.blocks[0]! * BLOCK_TOKENS),
    threads,
  });
  const scratchBytes = scratch.bytes;
  const cache = new KvCache(layout, config, {
    blocks: limits.blocks,
    type: options.kvType ?? "f16",
  });
  const states = new StateCache(layout, config, limits.maxSequences);
  const memory = new SharedMemory(layout.pages);
  const form = options.form ?? fastestForm();
  const { bytes, index, names } = makeKernels({
    types: plan.types,
    activations: gateActivations(config),
    recurrent: recurrentOf(config.layers),
    cache: cache.type,
    form,
    wide: memory.wide,
    maximum: memory.maximum,
  });
  const pool = new ThreadPool(memory, new WebAssembly.Module(bytes), {
    control,
    threads,
    starting,
  });
  try {
    scratch.prepare(memory);
    await plan.loader.load(pool, index, { pause: pausesFor(), ...options });
  } catch (error) {
    pool.destroy();
    throw error;
  }
  const model = { config, weights: plan.weights, cache, states };
  const pauses = new StepPauses();
  const context = { memory, scratch, index, form, pool };
  if (options.threads === undefined) keepFastestThreads(context, plan.weights);
  const stepper = new Stepper(context, model, { names, pause: () => pauses.next() });
  const memoryUse = {
    weights: weightBytes,
    scratch: scratchBytes,
    kv: layout.bytes - weightBytes - scratchBytes,
    readback: 0,
  };
  const load = () => plan.loader.load(pool, index);
  return new CpuRunner(config, limits, { stepper, form, memory: memoryUse, load });
}

/** Returns the activations of the model's gates. */
function gateActivations({ layers }: ModelConfig): ("silu" | "gelu")[] {
  return layers.flatMap(({ feedForward }) => {
    const { activation } = feedForward ?? {};
    return activation === undefined || activation === "relu2" ? [] : [activation];
  });
}

/**
 * Multiplications per second of two threads of an ordinary processor, and the target duration of a
 * step in seconds.
 */
const PRODUCTS = 15e9;
const STEP_SECONDS = 0.5;

/**
 * Returns the number of tokens per step: few enough that a step of a large model does not take too
 * long.
 */
function batchTokens({ products }: WeightPlan): number {
  const tokens = STEP_SECONDS * PRODUCTS / products;
  return Math.min(128, Math.max(8, Math.round(tokens / 8) * 8));
}
