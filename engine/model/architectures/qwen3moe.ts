/** Qwen3's mixture of experts: every layer routes each token to some experts. arXiv:2505.09388. */

import { type Architecture, attention, repeated } from "./architecture.ts";
import { readExperts, writeExperts } from "./experts.ts";

export const qwen3moe: Architecture = {
  gguf: "qwen3moe",
  modelType: "qwen3_moe",
  ggufRopeLayout: "half",
  attentionBias: false,
  read: (metadata) => ({ experts: readExperts(metadata) }),
  write: writeExperts,
  layers: (h) =>
    repeated(h.layers, {
      mixer: attention(h, { headNorm: true }),
      feedForward: { kind: "experts", ...h.experts!, activation: "silu" },
      postNorms: false,
    }),
};
