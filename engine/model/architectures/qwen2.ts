/** Qwen2 and Qwen2.5: llama's layers with biases on queries, keys and values. arXiv:2407.10671. */

import { type Architecture, attention, dense, repeated } from "./architecture.ts";

export const qwen2: Architecture = {
  gguf: "qwen2",
  modelType: "qwen2",
  ggufRopeLayout: "half",
  attentionBias: true,
  layers: (h) =>
    repeated(h.layers, { mixer: attention(h), feedForward: dense(h), postNorms: false }),
};
