/**
 * Ministral 3, and other Mistral models that llama.cpp converts to the architecture mistral3. The
 * layers are llama's, but queries grow with their position beyond the original context. Source of
 * structure and keys: Ministral3Config and modeling_ministral3.py of transformers, mistral3.cpp of
 * llama.cpp.
 */

import { MAX_CONTEXT } from "../config_bounds.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import type { TemperatureSpec } from "../rope.ts";
import { type Architecture, float, llamaLayers } from "./architecture.ts";
import { hfWindows, LAYER_KINDS } from "./windows.ts";

export const mistral3: Architecture = {
  gguf: "mistral3",
  modelType: "ministral3",
  // The type of models with a vision tower, whose text model may be one of Mistral's older ones.
  otherModelTypes: ["mistral3"],
  ggufRopeLayout: "interleaved",
  attentionBias: "optional",
  headDim: 128,
  obeys: { gguf: ["rope.scaling.yarn_log_multiplier"], hf: [] },
  read: (metadata) => {
    const isGguf = metadata.file.format === "gguf";
    const temperature = isGguf ? fromGguf(metadata) : fromJson(metadata);
    return {
      ...(temperature.beta > 0 && { temperature }),
      ...(!isGguf && hfWindows(metadata)),
    };
  },
  write: ({ temperature, windows, rope: { base, scaling } }) => ({
    gguf: {
      "attention.temperature_scale": float(temperature?.beta ?? 0),
      // 1, like mscale and mscale_all_dim below: YaRN then does not change the length of vectors.
      "rope.scaling.yarn_log_multiplier": float(1),
    },
    hf: scaling.kind !== "yarn" ? {} : {
      ...(windows && {
        sliding_window: windows.find((window) => window !== undefined),
        layer_types: windows.map((window) => LAYER_KINDS[window === undefined ? 1 : 0]),
      }),
      rope_scaling: undefined,
      rope_parameters: {
        rope_type: "yarn",
        rope_theta: base,
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContext,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        mscale: 1,
        mscale_all_dim: 1,
        llama_4_scaling_beta: temperature?.beta ?? 0,
      },
    },
  }),
  layers: (h) => llamaLayers(h, { ...(h.temperature && { temperature: h.temperature }) }),
};

function fromGguf(metadata: MetadataReader): TemperatureSpec {
  return {
    beta: metadata.between("attention.temperature_scale", [0, 1e6], 0),
    context: metadata.integer(
      "rope.scaling.original_context_length",
      [1, MAX_CONTEXT],
      metadata.integer("context_length", [1, MAX_CONTEXT]),
    ),
  };
}

function fromJson(json: MetadataReader): TemperatureSpec {
  return {
    beta: json.between("rope_parameters.llama_4_scaling_beta", [0, 1e6], 0),
    context: json.integer(
      "rope_parameters.original_max_position_embeddings",
      [1, MAX_CONTEXT],
      json.integer("max_position_embeddings", [1, MAX_CONTEXT]),
    ),
  };
}
