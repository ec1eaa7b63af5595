/**
 * tvllm as a library: runs language models, GGUF and safetensors, on this machine's GPU.
 *
 * ```ts
 * import { load } from "@tvllm/tvllm";
 *
 * await using model = await load("model.gguf");
 * for await (const { text } of model.generate("Once upon a time")) {
 *   await Deno.stdout.write(new TextEncoder().encode(text));
 * }
 * ```
 *
 * `load` returns a `Model`, which generates, tokenizes and scores. It is built on an `Engine`,
 * which serves requests in token ids, and an open `ModelFile`.
 *
 * @module
 */

export {
  type GenerateOptions,
  load,
  loadModel,
  type LoadOptions,
  type LoadProgress,
  type LoadTimes,
  Model,
  type ModelOptions,
  type ModelParts,
  openGguf,
  openModelFile,
  type OwnEngineOptions,
  type TextScores,
} from "./engine/mod.ts";
export {
  DeviceError,
  type DeviceErrorKind,
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  type RequestErrorKind,
  UnsupportedError,
} from "./engine/errors.ts";
export type {
  MetadataValue,
  ModelFile,
  OpenOptions,
  TensorInfo,
} from "./engine/files/model_file.ts";
export type {
  Activation,
  AttentionSpec,
  DeltaNetSpec,
  DenseSpec,
  ExpertsSpec,
  FeedForwardSpec,
  LayerSpec,
  MambaSpec,
  MixerSpec,
  ModelConfig,
  RecurrentHeads,
  RecurrentSpec,
} from "./engine/model/config.ts";
export type { RopeScaling, RopeSpec, TemperatureSpec } from "./engine/model/rope.ts";
export type { EncodedPrompt, PromptOptions, TextOptions } from "./engine/prompt.ts";
export {
  Answer,
  type AnswerPiece,
  type AnswerSummary,
  type TextRequest,
} from "./engine/run/answer.ts";
export type { BlockStats } from "./engine/run/block_manager.ts";
export { DEFAULT_MAX_TOKENS, DEFAULT_SAMPLING } from "./engine/run/defaults.ts";
export {
  Engine,
  type EngineOptions,
  type EngineStats,
  type Generation,
  type Kept,
} from "./engine/run/engine.ts";
export type { HalvesOptions, HalvesScore } from "./engine/run/half_windows.ts";
export type { TokenLogprobs } from "./engine/run/logprobs.ts";
export type { PositionScore, ScoreOptions, TokenScores } from "./engine/run/perplexity.ts";
export type { PrefixStats } from "./engine/run/prefix_cache.ts";
export type { Pause } from "./engine/run/event_loop.ts";
export {
  type Batch,
  type BatchSequence,
  type BlockCopy,
  GREEDY,
  type KernelTime,
  type ModelRunner,
  type PendingStep,
  type RunnerDevice,
  type RunnerLimits,
  type SamplingOptions,
  type StepOutput,
  type StepSpan,
  type Timing,
} from "./engine/run/runner.ts";
export type { FinishReason, GenerationRequest } from "./engine/run/sequence.ts";
export type { Token, TokenStream } from "./engine/run/token_stream.ts";
export type { ChatMessage } from "./engine/text/chat_template.ts";
export { TextStream } from "./engine/text/streaming.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer } from "./engine/text/tokenizer.ts";
export type { KvType } from "./kernels/sizes.ts";
export type { GgmlType, MlxType, TensorType } from "./kernels/tensor_types.ts";
