/** The routed experts that a model's metadata tells of. */

import type { ExpertConfig } from "./config.ts";
import { MAX_EXPERTS, MAX_WIDTH } from "./config_bounds.ts";
import type { MetadataReader } from "./metadata_reader.ts";

/** What llama.cpp's expert_gating_func calls a softmax. */
const SOFTMAX = 1;

/**
 * Of a GGUF file. Source of the keys: llama.cpp's gguf-py constants; of what a missing
 * expert_weights_norm stands for: its qwen3moe.cpp, which always normalizes.
 *
 * @param key of the rest of a key, the architecture's own
 */
export function expertsFromGguf(
  metadata: MetadataReader,
  key: (rest: string) => string,
): ExpertConfig {
  // These would change what is computed.
  for (
    const [rest, plain] of [["gating_func", SOFTMAX], ["weights_scale", 1], ["group_count", 1]]
  ) {
    const name = key(`expert_${rest}`);
    const value = metadata.file.metadata.get(name) ?? plain;
    if (value !== plain) {
      throw metadata.unsupported(`experts with '${name}' of ${value}; get a model with ${plain}`);
    }
  }
  const count = metadata.integer(key("expert_count"), 1, MAX_EXPERTS);
  return {
    count,
    used: metadata.integer(key("expert_used_count"), 1, count),
    ffnDim: metadata.integer(key("expert_feed_forward_length"), 1, MAX_WIDTH),
    normalized: metadata.flag(key("expert_weights_norm"), true),
  };
}

/** Of config.json. Source of the keys and defaults: Qwen3MoeConfig of transformers. */
export function expertsFromHf(json: MetadataReader): ExpertConfig {
  const step = json.integer("decoder_sparse_step", 1, MAX_WIDTH, 1);
  if (step > 1 || (json.arrayLength("mlp_only_layers") ?? 0) > 0) {
    throw json.unsupported("experts in some layers only; get a model with them in all");
  }
  const count = json.integer("num_experts", 1, MAX_EXPERTS, 128);
  return {
    count,
    used: json.integer("num_experts_per_tok", 1, count, 8),
    ffnDim: json.integer("moe_intermediate_size", 1, MAX_WIDTH, 768),
    normalized: json.flag("norm_topk_prob", false),
  };
}
