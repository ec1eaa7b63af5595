/**
 * The dense models of Granite 3 and 4: llama's layers with four scales. Source of structure and
 * keys: GraniteConfig and modeling_granite.py of transformers, granite.cpp of llama.cpp.
 *
 * Each branch of a layer is multiplied by the residual scale m: h += m · f(norm(h)). The engine
 * stores h / m instead, so that layers add f(norm(h)) as in any other model. RMSNorm of h / m
 * equals RMSNorm of h if its epsilon is divided by m², and the first h, the embedding, is divided
 * by m.
 */

import { MAX_LAYERS } from "../config_bounds.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, float, llamaLayers } from "./architecture.ts";

type Scales = NonNullable<Hyperparameters["scales"]>;

/** Names of the scales in GGUF and in config.json. */
const KEYS = {
  embedding: { gguf: "embedding_scale", hf: "embedding_multiplier" },
  residual: { gguf: "residual_scale", hf: "residual_multiplier" },
  attention: { gguf: "attention.scale", hf: "attention_multiplier" },
  logits: { gguf: "logit_scale", hf: "logits_scaling" },
} as const satisfies Record<keyof Scales, unknown>;
const NAMES = Object.keys(KEYS) as (keyof Scales)[];

export const granite: Architecture = {
  gguf: "granite",
  modelType: "granite",
  ggufRopeLayout: "interleaved",
  attentionBias: "optional",
  obeys: { gguf: NAMES.map((name) => KEYS[name].gguf), hf: [] },
  read: (metadata) => {
    const isGguf = metadata.file.format === "gguf";
    return { scales: readScales(metadata), ...(isGguf && unrotated(metadata)) };
  },
  write: ({ scales }) => ({
    gguf: Object.fromEntries(NAMES.map((name) => [KEYS[name].gguf, float(scales![name])])),
    hf: Object.fromEntries(NAMES.map((name) => [KEYS[name].hf, scales![name]])),
  }),
  layers: (h) => llamaLayers(h, h.scales!.attention > 0 ? { scale: h.scales!.attention } : {}),
  config: ({ rmsEpsilon, scales }) => {
    const { embedding, residual, logits } = scales!;
    return {
      embeddingScale: embedding / residual,
      rmsEpsilon: rmsEpsilon / residual ** 2,
      logitScale: 1 / logits,
    };
  },
};

/**
 * Reads the scales. A missing key means 1. In GGUF 0 means the same as a missing key, and for
 * attention both mean 1 / √(head size).
 */
function readScales(metadata: MetadataReader): Scales {
  const isGguf = metadata.file.format === "gguf";
  const scale = (name: keyof Scales) => {
    if (!isGguf) return metadata.positive(KEYS[name].hf, 1e6, 1);
    const value = metadata.between(KEYS[name].gguf, [0, 1e6], 0);
    return value === 0 && name !== "attention" ? 1 : value;
  };
  return {
    embedding: scale("embedding"),
    residual: scale("residual"),
    attention: scale("attention"),
    logits: scale("logits"),
  };
}

/** llama.cpp reads this key as a switch: if it is false, RoPE is not used at all. */
function unrotated(metadata: MetadataReader): Pick<Hyperparameters, "rotates"> {
  if (metadata.flag("rope.scaling.finetuned", true)) return {};
  const layers = metadata.integer("block_count", [1, MAX_LAYERS]);
  return { rotates: Array.from({ length: layers }, () => false) };
}
