/**
 * The text layers of Qwen3.5's and 3.6's mixtures of experts: the dense models' layers, but with
 * routed experts and a shared expert for every token. Source: modeling_qwen3_5_moe.py of
 * transformers, qwen35moe.cpp of llama.cpp.
 */

import { MAX_WIDTH } from "../config_bounds.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, uint } from "./architecture.ts";
import {
  DELTA_NETS,
  deltaNetFromGguf,
  deltaNetFromJson,
  deltaNetLayers,
  writeDeltaNet,
} from "./delta_net.ts";
import { readExperts, writeExperts } from "./experts.ts";

export const qwen35moe: Architecture = {
  ...DELTA_NETS,
  gguf: "qwen35moe",
  modelType: "qwen3_5_moe",
  otherModelTypes: ["qwen3_5_moe_text"],
  headDim: 256,
  hfFusedExperts: true,
  read: (metadata) => {
    const deltaNet = metadata.file.format === "gguf"
      ? deltaNetFromGguf(metadata)
      : deltaNetFromJson(metadata);
    const experts = readExperts(metadata, { normalized: true });
    return { deltaNet, experts: { ...experts, shared: { width: sharedWidth(metadata) } } };
  },
  write: (h) => {
    const [net, experts] = [writeDeltaNet(h), writeExperts(h)];
    const { width } = h.experts!.shared!;
    return {
      gguf: { ...net.gguf, ...experts.gguf, expert_shared_feed_forward_length: uint(width) },
      hf: { ...net.hf, ...experts.hf, shared_expert_intermediate_size: width },
    };
  },
  layers: (h) => deltaNetLayers(h, { kind: "experts", ...h.experts!, activation: "silu" }),
};

function sharedWidth(metadata: MetadataReader): number {
  return metadata.file.format === "gguf"
    ? metadata.integer("expert_shared_feed_forward_length", [1, MAX_WIDTH])
    : metadata.integer("shared_expert_intermediate_size", [1, MAX_WIDTH], 512);
}
