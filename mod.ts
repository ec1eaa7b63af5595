/**
 * tvllm as a library: load a model, generate, serve many requests at once.
 *
 * @module
 */

export { loadModel, type LoadOptions, type Model, openGguf, openModelFile } from "./engine/mod.ts";
export {
  DeviceError,
  type DeviceErrorKind,
  ModelFormatError,
  ModelNotFoundError,
  UnsupportedError,
} from "./engine/errors.ts";
export type { ModelFile } from "./engine/files/model_file.ts";
export type { ModelConfig } from "./engine/model/config.ts";
export {
  Engine,
  type EngineOptions,
  type EngineStats,
  type Generation,
} from "./engine/run/engine.ts";
export type { ModelRunner, SamplingOptions } from "./engine/run/runner.ts";
export type { FinishReason, GenerationRequest } from "./engine/run/sequence.ts";
export type { Token, TokenStream } from "./engine/run/token_stream.ts";
export type { Tokenizer } from "./engine/text/tokenizer.ts";
export { TextStream } from "./engine/text/streaming.ts";
export { type ChatMessage } from "./engine/text/chat_template.ts";
export { encodeChat } from "./engine/text/chat_prompt.ts";
