/** The table of supported architectures, for GGUF, safetensors, synthetic models and fixtures. */

import type { ModelConfig } from "../config.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { Architecture } from "./architecture.ts";
import { gemma3 } from "./gemma3.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { mistral3 } from "./mistral3.ts";
import { nemotronH, nemotronHMoe } from "./nemotron_h.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3moe } from "./qwen3moe.ts";
import { qwen35 } from "./qwen35.ts";
import { qwen35moe } from "./qwen35moe.ts";
import { smollm3 } from "./smollm3.ts";

export type { Architecture } from "./architecture.ts";

export const ARCHITECTURES: readonly Architecture[] = [
  llama,
  qwen2,
  qwen3,
  qwen3moe,
  gemma3,
  smollm3,
  granite,
  mistral3,
  phi3,
  qwen35,
  qwen35moe,
  nemotronH,
  nemotronHMoe,
];

function modelTypes({ modelType, otherModelTypes = [] }: Architecture): readonly string[] {
  return [modelType, ...otherModelTypes];
}

/** All values of config.json's `model_type` that the architectures have. */
export const MODEL_TYPES: readonly string[] = [...new Set(ARCHITECTURES.flatMap(modelTypes))];

/** Returns the architectures whose config.json has this `model_type`. `isOf` tells them apart. */
export function architecturesOfType(type: string): readonly Architecture[] {
  return ARCHITECTURES.filter((architecture) => modelTypes(architecture).includes(type));
}

/** Returns the architecture with this name in GGUF. */
export function architectureOf({ architecture }: { readonly architecture: string }): Architecture {
  const found = ARCHITECTURES.find(({ gguf }) => gguf === architecture);
  if (found === undefined) throw new TypeError(`Cannot find the architecture ${architecture}`);
  return found;
}

/** Returns the config of the model that these hyperparameters describe. */
export function configOf(h: Hyperparameters): ModelConfig {
  const { architecture, name, dim, vocabSize, contextLength, rmsEpsilon, tiedOutput } = h;
  const own = architectureOf(h);
  return {
    architecture,
    name,
    dim,
    vocabSize,
    contextLength,
    rmsEpsilon,
    embeddingScale: 1,
    logitScale: 1,
    tiedOutput,
    ...own.config?.(h),
    layers: own.layers(h),
  };
}
