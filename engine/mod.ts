/** The facade: loads a model from its name or an open file. */

import { fileURLToPath } from "node:url";
import { KV_BYTES, type KvType } from "../kernels/sizes.ts";
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
import { checkSignal } from "./run/check_signal.ts";
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

/**
 * Default context length in tokens. Longer sequences need memory that few users want to spend;
 * `contextLength` raises it.
 */
const DEFAULT_CONTEXT = 4096;

const DEFAULT_SEQUENCES = 8;

/**
 * Upper limits of the options. Beyond these, the lists of sequences and blocks alone would use up
 * all memory.
 */
const MOST = {
  contextLength: 2 ** 27,
  expectedLength: 2 ** 27,
  maxSequences: 1024,
  kvTokens: 2 ** 30,
  steps: MOST_STEPS,
  threads: 1024,
} as const;

/** Options that have one of a few values. */
const CHOICES = {
  device: ["auto", "gpu", "cpu"],
  kv: Object.keys(KV_BYTES),
} as const;

/** Progress of a load. */
export interface LoadProgress {
  /** The download from the hub, then the transfer of the weights to the device. */
  readonly stage: "download" | "weights";
  /** Bytes done so far. */
  readonly bytes: number;
  /** Total bytes of this stage. */
  readonly total: number;
}

/** How to load a model onto a device and serve it. */
export interface ModelOptions {
  /**
   * Default "auto": the GPU, or the CPU if the only adapter is a software one, which would run on
   * the processor anyway, only slower. "gpu" accepts a software adapter too.
   */
  readonly device?: "auto" | "gpu" | "cpu";
  /** CPU threads; default the fastest number, at most one for each logical processor. */
  readonly threads?: number;
  /** Maximum length of a sequence in tokens; default the model's own limit, at most 4,096. */
  readonly contextLength?: number;
  /**
   * Length in tokens of the longest sequence that you expect. The default of `contextLength` is
   * raised to it, as far as the model allows.
   */
  readonly expectedLength?: number;
  /** Element type of the KV cache, default f16. */
  readonly kv?: KvType;
  /** Maximum number of sequences that run concurrently, default 8. */
  readonly maxSequences?: number;
  /**
   * Maximum capacity of the KV cache in tokens, for all sequences together. Default on a GPU:
   * `maxSequences` × `contextLength`. Default on the CPU, which allocates the whole cache at once:
   * `contextLength`.
   */
  readonly kvTokens?: number;
  /** The same limit in bytes; the lower of the two limits applies. */
  readonly kvMemory?: number;
  /**
   * Decode steps to chain on the device, at most 8. Chaining saves readbacks, but tokens arrive in
   * bursts. Default: the number that `tvllm tune` measured, else 4 on a hardware GPU and 1
   * elsewhere.
   */
  readonly steps?: number;
  /** Called as bytes are downloaded or loaded. */
  readonly progress?: (progress: LoadProgress) => void;
  /**
   * Aborting it ends the load. What was downloaded so far is kept, and the next download resumes
   * there.
   */
  readonly signal?: AbortSignal;
}

/** Options of `load`: those of `loadModel`, and where to get models of the hub. */
export interface LoadOptions extends ModelOptions {
  /**
   * The cache directory for hub models; default TVLLM_CACHE, else Hugging Face's own (HF_HUB_CACHE,
   * HF_HOME, ~/.cache/huggingface/hub).
   */
  readonly cache?: string;
  /**
   * Do not use the network: a hub model must be in the cache already. Default: the value of
   * HF_HUB_OFFLINE.
   */
  readonly offline?: boolean;
  /**
   * Access token for private and gated models; default HF_TOKEN, else the one saved by `hf auth
   * login`.
   */
  readonly token?: string;
  /** The hub's address; default HF_ENDPOINT, else https://huggingface.co. */
  readonly endpoint?: string;
}

/**
 * Loads a model: a .gguf file, a directory of safetensors, or a hub model
 * `hf:ORG/REPO[:QUANT][@REVISION]`, which is downloaded unless it is in the cache.
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
 * @throws {ModelFormatError | UnsupportedError} if the file is damaged or not supported.
 * @throws {DeviceError} "no-adapter" if `device` is "gpu" and there is no adapter; "out-of-memory".
 * @throws {RequestError} if `contextLength` exceeds the model's, or an option is out of range.
 */
export async function load(model: string | URL, options: LoadOptions = {}): Promise<Model> {
  checkOptions(options);
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
        `Cannot load the model: ${quote(model.href)} is not a file URL; pass a path`,
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
 * Loads a model from an open file, GGUF or safetensors. Closing the model closes the file; if
 * loading fails, the file stays open.
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
  checkOptions(options);
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
  // Read before most of the weights, so that errors in the tokenizer are reported early.
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

function checkOptions(options: ModelOptions): void {
  checkSignal(options.signal, "Cannot load the model");
  // From JavaScript, the values can be any.
  for (const [name, choices] of Object.entries(CHOICES) as [keyof typeof CHOICES, string[]][]) {
    const value = options[name];
    if (value === undefined || choices.includes(value)) continue;
    throw new RequestError(
      `Cannot load the model: ${name} is ${quote(String(value))}, not one of ${choices.join(", ")}`,
    );
  }
  for (const [name, most] of Object.entries(MOST) as [keyof typeof MOST, number][]) {
    const size = options[name];
    if (size !== undefined && !(Number.isSafeInteger(size) && size >= 1)) {
      throw new RequestError(
        `Cannot load the model: ${name} is ${size}, not a whole number of at least 1`,
      );
    }
    if ((size ?? 1) > most) {
      throw new RequestError(`Cannot load the model: ${name} is ${size}; the maximum is ${most}`);
    }
  }
}
