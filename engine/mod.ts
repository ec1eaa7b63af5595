/** The facade: a model's name or open file in, a model that answers out. */

import { fileURLToPath } from "node:url";
import type { KvType } from "../kernels/sizes.ts";
import { openBackend } from "./backends.ts";
import { RequestError } from "./errors.ts";
import { openGguf } from "./files/gguf.ts";
import type { ModelFile } from "./files/model_file.ts";
import { openModelFile } from "./files/open_model.ts";
import { quote } from "./files/quote.ts";
import { isHubSpec, parseHubSpec } from "./hub/spec.ts";
import { kvBudget } from "./kv_budget.ts";
import { Model } from "./loaded_model.ts";
import { atContext } from "./model/at_context.ts";
import { readModel } from "./model/read_model.ts";
import { blocksFor } from "./run/block_manager.ts";
import { pausesFor } from "./run/event_loop.ts";
import { MOST_STEPS } from "./run/runner.ts";
import { chatTemplate } from "./text/chat_prompt.ts";
import { modelTokenizer } from "./text/model_tokenizer.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

export { Model, openGguf, openModelFile };
export type {
  GenerateOptions,
  LoadTimes,
  ModelParts,
  OwnEngineOptions,
  TextScores,
} from "./loaded_model.ts";

/** Sequences longer than this take memory that few need; `contextLength` asks for more. */
const DEFAULT_CONTEXT = 4096;

const DEFAULT_SEQUENCES = 8;

/** Beyond these, lists of sequences and blocks alone would take all memory. */
const MOST = {
  contextLength: 2 ** 27,
  expectedLength: 2 ** 27,
  maxSequences: 1024,
  kvTokens: 2 ** 30,
  steps: MOST_STEPS,
  threads: 1024,
} as const;

/** How far loading is. */
export interface LoadProgress {
  /** A download from the hub, then the weights' way to the device. */
  readonly stage: "download" | "weights";
  /** Bytes done so far. */
  readonly bytes: number;
  /** Bytes of all. */
  readonly total: number;
}

/** How a model is put on a device and served. */
export interface ModelOptions {
  /**
   * Default "auto": the GPU, or the CPU where there is no adapter but a software one, which is the
   * processor by a detour; "gpu" takes that too.
   */
  readonly device?: "auto" | "gpu" | "cpu";
  /** Threads of the CPU; default what is fastest, one for each logical processor at most. */
  readonly threads?: number;
  /** Longest sequence in tokens; default the model's own limit, at most 4,096. */
  readonly contextLength?: number;
  /**
   * Tokens of the longest sequence that is to come: the default of `contextLength` is raised to it, as
   * far as the model goes.
   */
  readonly expectedLength?: number;
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
  /**
   * Decode steps to chain on the device, at most 8: saves readbacks, and tokens come in bursts.
   * Default: as `tvllm tune` measured it; else 4 on a hardware GPU, and 1 elsewhere.
   */
  readonly steps?: number;
  /** Called as bytes arrive. */
  readonly progress?: (progress: LoadProgress) => void;
  /** Ends loading when it is aborted; what was downloaded is kept, and the next download resumes it. */
  readonly signal?: AbortSignal;
}

/** Where a model of the hub comes from, besides. */
export interface LoadOptions extends ModelOptions {
  /**
   * The directory of the hub's cache; default TVLLM_CACHE, else Hugging Face's own (HF_HUB_CACHE,
   * HF_HOME, ~/.cache/huggingface/hub).
   */
  readonly cache?: string;
  /** No network: a model of the hub must be in the cache. Default: as HF_HUB_OFFLINE says. */
  readonly offline?: boolean;
  /** Opens private and gated models of the hub; default HF_TOKEN, else what `hf auth login` saved. */
  readonly token?: string;
  /** The hub's address; default HF_ENDPOINT, else https://huggingface.co. */
  readonly endpoint?: string;
}

/**
 * Loads a model: a .gguf file, a directory of safetensors, or `hf:ORG/REPO[:QUANT][@REVISION]`, a
 * model of the hub, which is downloaded unless the cache has it.
 *
 * ```ts
 * import { load } from "@tvllm/tvllm";
 *
 * await using model = await load("hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0", {
 *   progress: ({ stage, bytes, total }) => console.error(stage, bytes, "of", total),
 * });
 * const { text } = await model.complete("What is the capital of France?", { maxTokens: 16 });
 * console.log(text);
 * ```
 *
 * @throws {ModelNotFoundError} if there is no such model, or it cannot be downloaded.
 * @throws {ModelFormatError | UnsupportedError} if the file is not one that tvllm runs.
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is none; "out-of-memory".
 * @throws {RequestError} if `contextLength` is beyond the model's, or an option is out of range.
 */
export async function load(model: string | URL, options: LoadOptions = {}): Promise<Model> {
  const file = openModelFile(await pathOf(model, options));
  try {
    return await loadModel(file, options);
  } catch (error) {
    file.close();
    throw error;
  }
}

async function pathOf(
  model: string | URL,
  { cache, offline, token, endpoint, signal, progress }: LoadOptions,
): Promise<string> {
  if (model instanceof URL) {
    try {
      return fileURLToPath(model);
    } catch (cause) {
      throw new RequestError(
        `Cannot load the model: ${quote(model.href)} is not the address of a file; give its path`,
        { cause },
      );
    }
  }
  if (!isHubSpec(model)) return model;
  const { checkDownload } = await import("./check_download.ts");
  const { getModel } = await import("./hub/get.ts");
  let total = 0;
  const { path } = await getModel(parseHubSpec(model), {
    ...(cache !== undefined && { cache }),
    ...(offline !== undefined && { offline }),
    ...(token !== undefined && { token }),
    ...(endpoint !== undefined && { endpoint }),
    ...(signal && { signal }),
    check: checkDownload,
    onStart: (_, bytes) => total = bytes,
    onProgress: (bytes) => progress?.({ stage: "download", bytes, total }),
  });
  return path;
}

/**
 * Loads an open model, GGUF or safetensors. Closing the model closes the file; if loading fails, the
 * file stays open.
 *
 * ```ts
 * import { loadModel, openModelFile } from "@tvllm/tvllm";
 *
 * await using model = await loadModel(openModelFile("model.gguf"), { device: "cpu" });
 * console.log(model.file.tensors.size, "tensors on", model.device.description);
 * ```
 *
 * Throws as `load` does.
 */
export async function loadModel(file: ModelFile, options: ModelOptions = {}): Promise<Model> {
  const started = performance.now();
  checkSizes(options);
  const { config, weights, notes } = readModel(file);
  const contextLength = options.contextLength ??
    Math.min(config.contextLength, Math.max(DEFAULT_CONTEXT, options.expectedLength ?? 0));
  if (contextLength > config.contextLength) {
    throw new RequestError(
      `Cannot use a context of ${contextLength} tokens: ${config.name} supports at most ${config.contextLength}`,
    );
  }
  const { device, kv = "f16", maxSequences = DEFAULT_SEQUENCES, progress } = options;
  const model = { file: weights, config: atContext(config, contextLength) };
  const maxBlocks = kvBudget(model.config, { ...options, kv, maxSequences });
  const configured = performance.now();
  let tokenizer!: Tokenizer, template: string | undefined, reading = 0;
  // Before the weights, so that what is wrong with it is said at once.
  const readTokenizer = () => {
    const started = performance.now();
    tokenizer = modelTokenizer(file);
    template = chatTemplate(file.metadata, tokenizer);
    reading = performance.now() - started;
  };
  let total = 0;
  for (const { byteLength } of file.tensors.values()) total += byteLength;
  const { runner, fallback, opened, compiled, steps, note } = await openBackend(model, {
    ...(device && { device }),
    ...(options.threads !== undefined && { threads: options.threads }),
    maxSequences,
    kv,
    maxBlocks,
    fixedBlocks: blocksFor(options.kvTokens ?? contextLength),
    ...(progress && { progress: (bytes) => progress({ stage: "weights", bytes, total }) }),
    meanwhile: readTokenizer,
    pause: pausesFor(options.signal),
  });
  const loaded = performance.now();
  return new Model({
    file: weights,
    config,
    tokenizer,
    chatTemplate: template,
    contextLength,
    runner,
    engineOptions: {
      contextLength,
      steps: options.steps ?? steps,
      maxBlocks,
    },
    fallback,
    deviceNote: note,
    notes,
    loadTimes: {
      config: configured - started,
      tokenizer: reading,
      device: opened - configured,
      kernels: compiled,
      weights: loaded - opened - reading - compiled,
    },
  });
}

function checkSizes(options: ModelOptions): void {
  for (const [name, most] of Object.entries(MOST) as [keyof typeof MOST, number][]) {
    const size = options[name];
    if (size !== undefined && !(Number.isSafeInteger(size) && size >= 1)) {
      throw new RequestError(
        `Cannot load the model: ${name} is ${size}, not a whole number of at least 1`,
      );
    }
    if ((size ?? 1) > most) {
      throw new RequestError(`Cannot load the model: ${name} is ${size}, more than ${most}`);
    }
  }
}
