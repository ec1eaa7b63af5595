/** Llama and the many models that share its layers (TinyLlama, SmolLM2 …). arXiv:2302.13971. */

import { type Architecture, attention, dense, repeated } from "./architecture.ts";

export const llama: Architecture = {
  gguf: "llama",
  modelType: "llama",
  // llama.cpp's conversion permutes query and key rows.
  ggufRopeLayout: "interleaved",
  attentionBias: "optional",
  layers: (h) =>
    repeated(h.layers, { mixer: attention(h), feedForward: dense(h), postNorms: false }),
};
