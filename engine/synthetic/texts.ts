/** Builds the text files that Hugging Face stores with the weights, for synthetic models. */

import { architectureOf, configOf } from "../model/architectures/mod.ts";
import { activationOf, HF_ACTIVATIONS } from "../model/hf_config.ts";
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
 * Returns the files by name: config.json, generation_config.json, tokenizer.json and
 * tokenizer_config.json.
 *
 * @param options.rule the `pre_tokenizer` of tokenizer.json
 * @param options.packing keys of config.json that describe quantized weights
 */
export function syntheticTexts(
  h: Hyperparameters,
  vocabulary: SyntheticVocabulary,
  { rule, packing = {} }: {
    readonly rule: object;
    readonly packing?: Readonly<Record<string, unknown>>;
  },
): Record<string, string> {
  return {
    "config.json": JSON.stringify({ ...configJson(h), ...packing }, null, 2),
    "generation_config.json": JSON.stringify({ eos_token_id: [EOS_ID, 0] }),
    "tokenizer.json": JSON.stringify(tokenizerJson(vocabulary, rule)),
    "tokenizer_config.json": JSON.stringify({
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: CONTROL_TOKENS[BOS_ID],
      eos_token: CONTROL_TOKENS[EOS_ID],
      add_bos_token: false,
      chat_template: CHAT_TEMPLATE,
    }),
  };
}

/**
 * Returns config.json with transformers' keys. Like its files, it omits head_dim if it is usual.
 */
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
    hidden_act: HF_ACTIVATIONS[activationOf(configOf(h).layers)],
    ...(architecture.attentionBias === "optional" && {
      attention_bias: h.attentionBias,
      mlp_bias: h.ffnBias ?? false,
    }),
    ...architecture.write?.(h).hf,
    tie_word_embeddings: h.tiedOutput,
    bos_token_id: BOS_ID,
    eos_token_id: 0,
    pad_token_id: 0,
  };
}

/** Returns the rule with the fields of ByteLevel that Hugging Face's tokenizers require. */
function withDefaults(rule: object): object {
  const { type, pretokenizers } = rule as { type?: unknown; pretokenizers?: object[] };
  if (type === "ByteLevel") {
    return { add_prefix_space: false, trim_offsets: true, use_regex: false, ...rule };
  }
  return pretokenizers ? { ...rule, pretokenizers: pretokenizers.map(withDefaults) } : rule;
}

function tokenizerJson(
  { tokens, merges }: SyntheticVocabulary,
  preTokenizer: object,
): Record<string, unknown> {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: CONTROL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: withDefaults(preTokenizer),
    post_processor: null,
    decoder: withDefaults({ type: "ByteLevel" }),
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
