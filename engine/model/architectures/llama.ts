/**
 * Llama and the many models that share its layers (TinyLlama, SmolLM2, Mistral …). Sources:
 * arXiv:2302.13971; for Mistral's windows arXiv:2310.06825.
 */

import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, llamaLayers } from "./architecture.ts";
import { hfWindows } from "./windows.ts";

export const llama: Architecture = {
  gguf: "llama",
  modelType: "llama",
  otherModelTypes: ["mistral", "ministral"],
  // llama.cpp's conversion permutes the rows of queries and keys.
  ggufRopeLayout: "interleaved",
  attentionBias: "optional",
  read: (metadata) => metadata.file.format === "gguf" ? {} : readWindows(metadata),
  layers: llamaLayers,
};

/** Source of the default window: MistralConfig and MinistralConfig of transformers. */
function readWindows(json: MetadataReader): Pick<Hyperparameters, "windows"> {
  return json.text("model_type") === "llama" ? {} : hfWindows(json, 4096);
}
