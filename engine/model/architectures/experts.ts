/** Reads and writes the keys of Qwen's mixtures of experts. */

import { MAX_EXPERTS, MAX_WIDTH } from "../config_bounds.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { uint } from "./architecture.ts";

type Experts = NonNullable<Hyperparameters["experts"]>;

/** The value of llama.cpp's expert_gating_func for a softmax. */
const SOFTMAX = 1;

/** @param defaults values for keys that config.json lacks */
export function readExperts(metadata: MetadataReader, defaults: Partial<Experts> = {}): Experts {
  return metadata.file.format === "gguf" ? fromGguf(metadata) : fromJson(metadata, defaults);
}

/** Returns the keys that describe the experts, for the files of synthetic models. */
export function writeExperts({ experts }: Hyperparameters) {
  const { count, used, width, normalized } = experts!;
  return {
    gguf: {
      expert_count: uint(count),
      expert_used_count: uint(used),
      expert_feed_forward_length: uint(width),
    },
    hf: {
      num_experts: count,
      num_experts_per_tok: used,
      moe_intermediate_size: width,
      norm_topk_prob: normalized,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
    },
  };
}

/**
 * Source of the keys: llama.cpp's gguf-py constants. The default of expert_weights_norm follows its
 * qwen3moe.cpp, which always normalizes.
 */
function fromGguf(metadata: MetadataReader): Experts {
  // Other values of these keys would change the computation.
  for (
    const [rest, plain] of [["gating_func", SOFTMAX], ["weights_scale", 1], ["group_count", 1]]
  ) {
    const key = `expert_${rest}`;
    const value = metadata.value(key) ?? plain;
    if (value !== plain) {
      const name = metadata.key(key);
      throw metadata.unsupported(`key '${name}' is ${value}; use a model with ${plain}`);
    }
  }
  const count = metadata.integer("expert_count", [1, MAX_EXPERTS]);
  return {
    count,
    used: metadata.integer("expert_used_count", [1, count]),
    width: metadata.integer("expert_feed_forward_length", [1, MAX_WIDTH]),
    normalized: metadata.flag("expert_weights_norm", true),
  };
}

/** Source of the keys and other defaults: Qwen3MoeConfig of transformers. */
function fromJson(json: MetadataReader, defaults: Partial<Experts>): Experts {
  const step = json.integer("decoder_sparse_step", [1, MAX_WIDTH], 1);
  if (step > 1 || (json.arrayLength("mlp_only_layers") ?? 0) > 0) {
    throw json.unsupported("only some layers have experts; use a model with experts in all layers");
  }
  const count = json.integer("num_experts", [1, MAX_EXPERTS], 128);
  return {
    count,
    used: json.integer("num_experts_per_tok", [1, count], 8),
    width: json.integer("moe_intermediate_size", [1, MAX_WIDTH], 768),
    normalized: json.flag("norm_topk_prob", defaults.normalized ?? false),
  };
}
