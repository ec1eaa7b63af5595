/**
 * The text layers of Gemma 3. Each branch has a norm before and after it, and GELU is the
 * activation. Most layers see a window and have a RoPE table of their own. Source of structure and
 * keys: Gemma3TextConfig and modeling_gemma3.py of transformers, gemma3.cpp of llama.cpp.
 * arXiv:2503.19786.
 */

import { MAX_CONTEXT, MAX_HEADS, MAX_LAYERS, MAX_WIDTH } from "../config_bounds.ts";
import type { Hyperparameters } from "../hyperparameters.ts";
import type { MetadataReader } from "../metadata_reader.ts";
import { type Architecture, attention, float, LESS_ONE, uint } from "./architecture.ts";
import { periodOf } from "./layer_types.ts";

/** Defaults for missing keys: every sixth layer sees all tokens, the others have this RoPE base. */
const PERIOD = 6;
const LOCAL_BASE = 10_000;
/**
 * The 27B model divides q · k by √(dim / heads). llama.cpp recognizes it by its number of layers.
 */
const LAYERS_OF_27B = 62;

export const gemma3: Architecture = {
  gguf: "gemma3",
  modelType: "gemma3_text",
  ggufRopeLayout: "half",
  partialRope: true,
  attentionBias: false,
  headDim: 256,
  hfNames: {
    ffnNorm: "model.layers.{}.pre_feedforward_layernorm.weight",
  },
  hfVector: (weight) => weight.endsWith("Norm") ? LESS_ONE : undefined,
  hfTied: true,
  read: (metadata) => metadata.file.format === "gguf" ? fromGguf(metadata) : fromJson(metadata),
  write: (h) => {
    const { tokens, period, ropeBase } = h.window!;
    return {
      gguf: {
        "attention.sliding_window": uint(tokens),
        "attention.sliding_window_pattern": uint(period),
        "rope.freq_base_swa": float(ropeBase),
      },
      hf: {
        hidden_activation: "gelu_pytorch_tanh",
        sliding_window: tokens,
        sliding_window_pattern: period,
        rope_local_base_freq: ropeBase,
        query_pre_attn_scalar: h.queryScalar ?? h.headDim,
      },
    };
  },
  layers: (h) => {
    const { tokens, period, ropeBase } = h.window!;
    const scale = 1 / Math.sqrt(h.queryScalar ?? h.headDim);
    const feedForward = { kind: "dense", width: h.ffnDim, activation: "gelu" } as const;
    const all = attention(h, { scale, headNorm: true });
    // Scaling is for long contexts, which only the layers without a window see.
    const rope = { ...h.rope, base: ropeBase, scaling: { kind: "none" } } as const;
    const local = { ...all, rope, window: tokens };
    return Array.from({ length: h.layers }, (_, i) => {
      return { mixer: (i + 1) % period === 0 ? all : local, feedForward, postNorms: true };
    });
  },
  config: ({ dim }) => ({ embeddingScale: Math.sqrt(dim) }),
};

type Own = Pick<Hyperparameters, "window" | "queryScalar">;

function fromGguf(metadata: MetadataReader): Own {
  const dim = metadata.integer("embedding_length", [1, MAX_WIDTH]);
  const heads = metadata.integer("attention.head_count", [1, MAX_HEADS]);
  const is27B = metadata.integer("block_count", [1, MAX_LAYERS]) === LAYERS_OF_27B;
  return {
    window: {
      tokens: metadata.integer("attention.sliding_window", [1, MAX_CONTEXT]),
      // llama.cpp aborts if no layer has the window, hence at least 2.
      period: metadata.integer("attention.sliding_window_pattern", [2, MAX_LAYERS], PERIOD),
      ropeBase: metadata.positive("rope.freq_base_swa", 1e12, LOCAL_BASE),
    },
    ...(is27B && { queryScalar: dim / heads }),
  };
}

function fromJson(json: MetadataReader): Own {
  for (const key of ["attn_logit_softcapping", "final_logit_softcapping"]) {
    if (json.has(key)) throw json.unsupported(`key '${key}' is set; use a model without it`);
  }
  const period = json.has("layer_types")
    ? periodOf(json, "sliding_attention")
    : json.integer("sliding_window_pattern", [1, MAX_LAYERS], PERIOD);
  return {
    window: {
      tokens: json.integer("sliding_window", [1, MAX_CONTEXT], 4096),
      period,
      ropeBase: json.positive("rope_local_base_freq", 1e12, LOCAL_BASE),
    },
    queryScalar: json.integer("query_pre_attn_scalar", [1, MAX_WIDTH], 256),
  };
}
