/**
 * The text layers of Qwen3.5 and Qwen3.6: gated delta nets, and in every fourth layer gated
 * attention, in which RoPE rotates a quarter of each head. Source: modeling_qwen3_5.py of
 * transformers, qwen35.cpp of llama.cpp.
 */

import { type Architecture, dense } from "./architecture.ts";
import {
  DELTA_NETS,
  deltaNetFromGguf,
  deltaNetFromJson,
  deltaNetLayers,
  writeDeltaNet,
} from "./delta_net.ts";

export const qwen35: Architecture = {
  ...DELTA_NETS,
  gguf: "qwen35",
  modelType: "qwen3_5",
  otherModelTypes: ["qwen3_5_text"],
  headDim: 256,
  read: (metadata) => ({
    deltaNet: metadata.file.format === "gguf"
      ? deltaNetFromGguf(metadata)
      : deltaNetFromJson(metadata),
  }),
  write: writeDeltaNet,
  layers: (h) => deltaNetLayers(h, dense(h)),
};
