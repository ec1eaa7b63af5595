/**
 * Phi-3, Phi-3.5 and Phi-4 (mini): llama's layers with LongRoPE, and with windows in some models.
 * Files store fused matrices. Source of structure and keys: Phi3Config and modeling_phi3.py of
 * transformers, phi3.cpp of llama.cpp. arXiv:2404.14219.
 */

import { MAX_CONTEXT, MAX_LAYERS } from "../config_bounds.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, llamaLayers, uint } from "./architecture.ts";
import { hfWindows } from "./windows.ts";

export const phi3: Architecture = {
  gguf: "phi3",
  modelType: "phi3",
  ggufRopeLayout: "half",
  partialRope: true,
  attentionBias: false,
  fused: true,
  obeys: { gguf: [], hf: ["partial_rotary_factor"] },
  read: (metadata) => metadata.file.format === "gguf" ? ggufWindows(metadata) : hfWindows(metadata),
  write: ({ windows, rope, headDim }) => ({
    gguf: { "attention.sliding_window": uint(windows?.[0] ?? 0) },
    hf: {
      sliding_window: windows?.[0] ?? null,
      ...(rope.dims !== headDim && { partial_rotary_factor: rope.dims / headDim }),
    },
  }),
  layers: llamaLayers,
};

/** Returns the windows as transformers applies them; llama.cpp reads the key but ignores it. */
function ggufWindows(metadata: MetadataReader): Pick<Hyperparameters, "windows"> {
  const tokens = metadata.integer("attention.sliding_window", [0, MAX_CONTEXT], 0);
  const context = metadata.integer("context_length", [1, MAX_CONTEXT]);
  if (tokens === 0 || tokens >= context) return {};
  const layers = metadata.integer("block_count", [1, MAX_LAYERS]);
  return { windows: Array.from({ length: layers }, () => tokens) };
}
