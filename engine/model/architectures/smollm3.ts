/**
 * SmolLM3: llama's layers, but every fourth layer has no RoPE (NoPE, arXiv:2501.18795). Source of
 * the keys: SmolLM3Config of transformers; smollm3.cpp of llama.cpp, which supports no other
 * period.
 */

import { MAX_LAYERS } from "../config_bounds.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, llamaLayers } from "./architecture.ts";

const PERIOD = 4;

export const smollm3: Architecture = {
  gguf: "smollm3",
  modelType: "smollm3",
  ggufRopeLayout: "interleaved",
  attentionBias: "optional",
  hfRopeBase: 2e6,
  hfTied: true,
  read: (metadata) => ({ rotates: rotatedLayers(metadata) }),
  write: ({ rotates }) => ({ gguf: {}, hf: { no_rope_layers: rotates!.map(Number) } }),
  layers: llamaLayers,
};

function rotatedLayers(metadata: MetadataReader): boolean[] {
  const isGguf = metadata.file.format === "gguf";
  const layers = metadata.integer(isGguf ? "block_count" : "num_hidden_layers", [1, MAX_LAYERS]);
  if (!isGguf && metadata.has("no_rope_layers")) {
    // 1 means a layer with RoPE, despite the name.
    const stated = metadata.numbers("no_rope_layers", [0, 1]);
    if (stated.length !== layers) {
      throw metadata.fault(
        `no_rope_layers has ${stated.length} layers, but num_hidden_layers is ${layers}; ` +
          `download the model again`,
      );
    }
    return stated.map((rotates) => rotates > 0);
  }
  const period = isGguf
    ? PERIOD
    : metadata.integer("no_rope_layer_interval", [1, MAX_LAYERS], PERIOD);
  return Array.from({ length: layers }, (_, i) => (i + 1) % period !== 0);
}
