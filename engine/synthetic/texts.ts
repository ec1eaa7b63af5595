/** The texts that Hugging Face keeps beside the weights, of models that are made rather than trained. */

import type { ModelConfig, RopeScaling } from "../model/config.ts";
import {
  BOS_ID,
  CHAT_TEMPLATE,
  CONTROL_TOKENS,
  EOS_ID,
  type SyntheticVocabulary,
} from "./metadata.ts";

/**
 * Files by name: config.json, generation_config.json, tokenizer.json, tokenizer_config.json.
 *
 * @param preTokenizer the rule of tokenizer.json's `pre_tokenizer`
 */
export function syntheticTexts(
  config: ModelConfig,
  vocabulary: SyntheticVocabulary,
  preTokenizer: object,
): Record<string, string> {
  return {
    "config.json": JSON.stringify(configJson(config), null, 2),
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
function configJson(config: ModelConfig): Record<string, unknown> {
  return {
    model_type: config.architecture.replace(/moe$/, "_moe"),
    hidden_size: config.dim,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    ...(config.architecture.startsWith("qwen3") && { head_dim: config.headDim }),
    intermediate_size: config.ffnDim,
    vocab_size: config.vocabSize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.rmsEpsilon,
    rope_theta: config.ropeBase,
    rope_scaling: scalingJson(config.ropeScaling),
    hidden_act: "silu",
    ...(config.experts && {
      num_experts: config.experts.count,
      num_experts_per_tok: config.experts.used,
      moe_intermediate_size: config.experts.ffnDim,
      norm_topk_prob: config.experts.normalized,
    }),
    tie_word_embeddings: config.tiedOutput,
    eos_token_id: 0,
  };
}

/** Made models have Llama 3's scaling or none. */
function scalingJson(scaling: RopeScaling): Record<string, unknown> | null {
  if (scaling.kind !== "llama3") return null;
  return {
    rope_type: "llama3",
    factor: scaling.factor,
    low_freq_factor: scaling.lowFrequencyFactor,
    high_freq_factor: scaling.highFrequencyFactor,
    original_max_position_embeddings: scaling.originalContext,
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
