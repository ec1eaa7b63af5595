/** The facade: a model file in, a tokenizer and a serving engine out. */

import { tuningFor } from "../kernels/tuning.ts";
import { KV_BYTES, type KvType } from "../kernels/specs.ts";
import { loadReferenceRunner } from "./reference/runner.ts";
import { DeviceError } from "./errors.ts";
import { openGguf } from "./files/gguf.ts";
import type { ModelFile } from "./files/model_file.ts";
import { openModelFile } from "./files/open_model.ts";
import { type Gpu, openGpu } from "./gpu/device.ts";
import type { ModelConfig } from "./model/config.ts";
import { kvBlockBytes, kvBlocksHeld, kvGroups } from "./model/kv_groups.ts";
import { readModel } from "./model/read_model.ts";
import { blocksFor } from "./run/block_manager.ts";
import { Engine, type EngineOptions } from "./run/engine.ts";
import { GpuRunner } from "./gpu/runner.ts";
import { BLOCK_TOKENS, type ModelRunner } from "./run/runner.ts";
import { chatTemplate } from "./text/chat_prompt.ts";
import { modelTokenizer } from "./text/model_tokenizer.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

/** Sequences longer than this take memory that few need; `contextLength` asks for more. */
const DEFAULT_CONTEXT = 4096;

const DEFAULT_SEQUENCES = 8;

/** Tokens that a GPU's KV cache has room for before it grows. */
const FIRST_TOKENS = 512;

/** How a model is loaded and served. */
export interface LoadOptions {
  /** Default: the GPU, or the CPU where there is no adapter. */
  readonly device?: "gpu" | "cpu";
  /** Longest sequence in tokens; default the model's own limit, at most 4,096. */
  readonly contextLength?: number;
  /** Element type of the KV cache, default f16. */
  readonly kv?: KvType;
  /** Sequences that may run at once, default 8. */
  readonly maxSequences?: number;
  /**
   * Most tokens that the KV cache may grow to, all sequences together; default `maxSequences` of
   * `contextLength` on a GPU, one on the CPU, which makes room for them at once.
   */
  readonly kvTokens?: number;
  /** The same in bytes; the lower bound of the two holds. */
  readonly kvMemory?: number;
  /** Called with the bytes of weights uploaded so far. */
  readonly progress?: (bytes: number) => void;
  readonly engine?: EngineOptions;
}

/** A model that is ready to answer. */
export interface Model {
  /** The open file, its weights under GGUF's names. */
  readonly file: ModelFile;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** The chat template, as Jinja text. */
  readonly chatTemplate: string;
  readonly contextLength: number;
  readonly runner: ModelRunner;
  readonly engine: Engine;
  /**
   * What the engine was made with, for another one like it on the same runner. An engine takes all of
   * the runner's cache for its own: once another one was used, do not use this one again, whose
   * cached prompts may be overwritten.
   */
  readonly engineOptions: EngineOptions;
  /** Why the CPU runs it although the GPU was not ruled out; undefined otherwise. */
  readonly fallback: string | undefined;
  /** Milliseconds from the open file to here. */
  readonly loadTime: number;
  /** Stops the engine and frees the device; the file is closed too. */
  close(): Promise<void>;
}

/**
 * Loads an open model, GGUF or safetensors.
 *
 * ```ts
 * import { loadModel, openGguf } from "./mod.ts";
 * const model = await loadModel(openGguf("model.gguf"));
 * const promptIds = model.tokenizer.encode("Once upon a time");
 * const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 1 };
 * const request = { promptIds, sampling, maxTokens: 32, stopIds: [...model.tokenizer.eosIds] };
 * const [answer] = await model.engine.generate([request]);
 * console.log(model.tokenizer.decode(answer!.ids));
 * await model.close();
 * ```
 *
 * @throws {ModelFormatError | UnsupportedError} if the file is not one that tvllm runs.
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is none; "out-of-memory".
 * @throws {RangeError} if `contextLength` is beyond the model's, or an option is out of range.
 */
export async function loadModel(file: ModelFile, options: LoadOptions = {}): Promise<Model> {
  const started = performance.now();
  checkSizes(options);
  const { config, weights } = readModel(file);
  const contextLength = options.contextLength ?? Math.min(config.contextLength, DEFAULT_CONTEXT);
  if (contextLength > config.contextLength) {
    throw new RangeError(
      `Cannot use a context of ${contextLength} tokens: ${config.name} was made for ${config.contextLength}`,
    );
  }
  const maxBlocks = kvBudget(config, contextLength, options);
  // Before the weights, so that what is wrong with it is said at once.
  const tokenizer = modelTokenizer(file);
  const template = chatTemplate(file.metadata, tokenizer);
  const model = { file: weights, config: { ...config, contextLength } };
  const { runner, fallback } = await openRunner(model, maxBlocks, options);
  const { kind, driver } = runner.device;
  const engineOptions: EngineOptions = {
    contextLength,
    // A hardware GPU is done with a token before the host has read the last one.
    steps: kind === "gpu" && driver === "hardware" ? 4 : 1,
    ...(runner.growBlocks && { maxBlocks }),
    ...options.engine,
  };
  let engine: Engine;
  try {
    engine = new Engine(runner, engineOptions);
  } catch (error) {
    runner.destroy();
    throw error;
  }
  return {
    file: weights,
    config,
    tokenizer,
    chatTemplate: template,
    contextLength,
    runner,
    engine,
    engineOptions,
    fallback,
    loadTime: performance.now() - started,
    close: async () => {
      await engine.stop();
      runner.destroy();
      file.close();
    },
  };
}

function checkSizes(options: LoadOptions): void {
  for (const name of ["contextLength", "maxSequences", "kvTokens"] as const) {
    const size = options[name];
    if (size !== undefined && !(Number.isSafeInteger(size) && size >= 1)) {
      throw new RangeError(
        `Cannot load the model: ${name} is ${size}, not a whole number from 1 up`,
      );
    }
  }
}

/**
 * Blocks that the KV cache may have, by group of layers: those with a window have what all running
 * sequences can hold, and the rest of the memory is for those that keep everything.
 */
function kvBudget(
  config: ModelConfig,
  contextLength: number,
  { kv = "f16", maxSequences = DEFAULT_SEQUENCES, kvTokens, kvMemory = Infinity }: LoadOptions,
): number[] {
  const groups = kvGroups(config);
  const bytes = groups.map((group) => kvBlockBytes(config, group, KV_BYTES[kv]));
  const tokens = kvTokens ?? contextLength * maxSequences;
  const entering = tuningFor("hardware").batchTokens;
  const held = groups.map((group) =>
    kvBlocksHeld(group, { tokens, sequences: maxSequences, entering })
  );
  // Of `blocks` blocks of the first group, the others need no more than as many.
  const total = (blocks: number) =>
    bytes.reduce((sum, size, group) => sum + size * Math.min(held[group]!, blocks), 0);
  let blocks = held[0]!;
  if (!(total(blocks) <= kvMemory)) {
    let least = 0;
    while (blocks - least > 1) {
      const middle = Math.floor((least + blocks) / 2);
      if (total(middle) <= kvMemory) least = middle;
      else blocks = middle;
    }
    blocks = least;
  }
  if (blocks < 1) {
    throw new RangeError(
      `Cannot keep a KV cache in ${kvMemory} bytes: a block of ${BLOCK_TOKENS} tokens takes ${
        total(1)
      }`,
    );
  }
  return held.map((most) => Math.min(most, blocks));
}

async function openRunner(
  model: { readonly file: ModelFile; readonly config: ModelConfig },
  maxBlocks: readonly number[],
  options: LoadOptions,
): Promise<{ runner: ModelRunner; fallback: string | undefined }> {
  const { device, kv, maxSequences = DEFAULT_SEQUENCES, kvTokens, progress } = options;
  const { contextLength } = model.config;
  const atMost = (tokens: number) => maxBlocks.map((most) => Math.min(most, blocksFor(tokens)));
  let fallback: string | undefined;
  if (device !== "cpu") {
    let gpu: Gpu | undefined;
    try {
      gpu = await openGpu();
      const runner = await GpuRunner.load(gpu, model, {
        contextLength,
        blocks: atMost(FIRST_TOKENS),
        maxSequences,
        ...(kv && { kv }),
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
  const runner = loadReferenceRunner(model.file, model.config, {
    blocks: atMost(kvTokens ?? contextLength),
    maxSequences,
    maxBatchTokens: tuningFor("software").batchTokens,
    ...(kv && { kvType: kv }),
  });
  return { runner, fallback };
}

export { openGguf, openModelFile };
