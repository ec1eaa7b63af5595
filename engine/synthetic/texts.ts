/** The texts that Hugging Face keeps beside the weights, of models that are made rather than trained. */

import { architectureOf, configOf } from "../model/architectures/mod.ts";
import { HF_ACTIVATIONS } from "../model/hf_config.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import {
  BOS_ID,
  CHAT_TEMPLATE,
  CONTROL_TOKENS,
  EOS_ID,
  type SyntheticVocabulary,
} from "./metadata.ts";
import { scalingJson } from "./rope_scaling.ts";

/**
 * Files by name: config.json, generation_config.json, tokenizer.json, tokenizer_config.json.
 *
 * @param preTokenizer the rule of tokenizer.json's `pre_tokenizer`
 */
export function syntheticTexts(
  h: Hyperparameters,
  vocabulary: SyntheticVocabulary,
  preTokenizer: object,
): Record<string, string> {
  return {
    "config.json": JSON.stringify(configJson(h), null, 2),
    "generation_config.json": JSON.stringify({ eos_token_id: [EOS_ID, 0] }),
    "tokenizer.json": JSON.stringify(tokenizerJson(vocabulary, preTokenizer)),
    "tokenizer_config.json": JSON.stringify({
      bos_token: CONTROL_TOKENS[BOS_ID],
      eos_token: { content: CONTROL_TOKENS[EOS_ID] },
      add_bos_token: false,
      chat_template: CHAT_TEMPLATE,
    }),
  };
}

/** What transformers calls the values, and what its files leave out. */
function configJson(h: Hyperparameters): Record<string, unknown> {
  const architecture = architectureOf(h);
  const usualHeadDim = architecture.headDim ?? h.dim / h.heads;
  return {
    model_type: architecture.modelType,
    hidden_size: h.dim,
    num_hidden_layers: h.layers,
    num_attention_heads: h.heads,
    num_key_value_heads: h.kvHeads,
    ...(h.headDim !== usualHeadDim && { head_dim: h.headDim }),
    intermediate_size: h.ffnDim,
    vocab_size: h.vocabSize,
    max_position_embeddings: h.contextLength,
    rms_norm_eps: h.rmsEpsilon,
    rope_theta: h.rope.base,
    ...scalingJson(h.rope.scaling),
    hidden_act: HF_ACTIVATIONS[configOf(h).layers[0]!.feedForward.activation],
    ...(architecture.attentionBias === "optional" && {
      attention_bias: h.attentionBias,
      mlp_bias: h.ffnBias ?? false,
    }),
    ...architecture.write?.(h).hf,
    tie_word_embeddings: h.tiedOutput,
    eos_token_id: 0,
  };
}

function tokenizerJson(
  { tokens, merges }: SyntheticVocabulary,
  preTokenizer: object,
): Record<string, unknown> {
  return {
    version: "1.0",
    added_tokens: CONTROL_TOKENS.map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
