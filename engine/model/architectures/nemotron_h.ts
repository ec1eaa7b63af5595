/**
 * Nemotron-H and Nemotron 3. Each layer has a single branch: Mamba-2, attention without RoPE, a
 * feed-forward network with squared ReLU, or experts of that kind. Source: modeling_nemotron_h.py
 * of NVIDIA's repositories, nemotron-h.cpp of llama.cpp and its conversion, nemotron_h.py of
 * mlx-lm.
 */

import type { LayerSpec } from "../config.ts";
import type { Hyperparameters, LayerKind } from "../hyperparameters.ts";
import { type Architecture, attention, LOG_OF_OPPOSITE, unrotated } from "./architecture.ts";
import { kindsOfJson, nemotronFromGguf, nemotronFromJson } from "./nemotron_h_read.ts";
import { nemotronGguf, nemotronJson } from "./nemotron_h_write.ts";

const mixer = (name: string) => `backbone.layers.{}.mixer.${name}`;

const NEMOTRON_H = {
  modelType: "nemotron_h",
  ggufRopeLayout: "half",
  partialRope: true,
  attentionBias: false,
  obeys: { gguf: ["expert_shared_count"], hf: [] },
  ownLayerSizes: true,
  ggufNames: { ffnNorm: "blk.{}.attn_norm.weight" },
  hfNames: {
    embedding: "backbone.embeddings.weight",
    outputNorm: "backbone.norm_f.weight",
    attentionNorm: "backbone.layers.{}.norm.weight",
    query: mixer("q_proj.weight"),
    key: mixer("k_proj.weight"),
    value: mixer("v_proj.weight"),
    attentionOutput: mixer("o_proj.weight"),
    recurrentStepBias: mixer("dt_bias"),
    recurrentDecay: mixer("A_log"),
    mambaSkip: mixer("D"),
    convolution: mixer("conv1d.weight"),
    convolutionBias: mixer("conv1d.bias"),
    recurrentNorm: mixer("norm.weight"),
    recurrentOutput: mixer("out_proj.weight"),
    ffnNorm: "backbone.layers.{}.norm.weight",
    up: mixer("up_proj.weight"),
    down: mixer("down_proj.weight"),
    router: mixer("gate.weight"),
    routerBias: mixer("gate.e_score_correction_bias"),
    expertUps: mixer("experts.up_proj.weight"),
    expertDowns: mixer("experts.down_proj.weight"),
    sharedUp: mixer("shared_experts.up_proj.weight"),
    sharedDown: mixer("shared_experts.down_proj.weight"),
  },
  hfVector: (weight) => weight === "recurrentDecay" ? LOG_OF_OPPOSITE : undefined,
  read: (metadata) =>
    metadata.file.format === "gguf" ? nemotronFromGguf(metadata) : nemotronFromJson(metadata),
  write: (h) => ({ gguf: nemotronGguf(h), hf: nemotronJson(h) }),
  layers: (h) => h.kinds!.map((kind) => layerOf(h, kind)),
} as const satisfies Omit<Architecture, "gguf">;

export const nemotronH: Architecture = {
  ...NEMOTRON_H,
  gguf: "nemotron_h",
  isOf: (json) => !kindsOfJson(json).includes("experts"),
};

export const nemotronHMoe: Architecture = {
  ...NEMOTRON_H,
  gguf: "nemotron_h_moe",
  isOf: (json) => kindsOfJson(json).includes("experts"),
};

function layerOf(h: Hyperparameters, kind: LayerKind): LayerSpec {
  const plain = { activation: "relu2", gateless: true } as const;
  switch (kind) {
    case "mamba":
      return { mixer: { kind, ...h.mamba! }, postNorms: false };
    case "attention":
      return { mixer: attention(h, { rope: unrotated(h.rope) }), postNorms: false };
    case "dense":
      return { feedForward: { kind, width: h.ffnDim, ...plain }, postNorms: false };
    case "experts":
      return { feedForward: { kind, ...h.experts!, ...plain }, postNorms: false };
  }
}
