/** Qwen3: an RMSNorm is applied to each head's query and key. arXiv:2505.09388. */

import { type Architecture, attention, dense, repeated } from "./architecture.ts";

export const qwen3: Architecture = {
  gguf: "qwen3",
  modelType: "qwen3",
  ggufRopeLayout: "half",
  attentionBias: false,
  headDim: 128,
  layers: (h) => {
    const mixer = attention(h, { headNorm: true });
    return repeated(h.layers, { mixer, feedForward: dense(h), postNorms: false });
  },
};
