/** Metadata and vocabularies of models that are made rather than trained. */

import { byteCharacters } from "../files/byte_characters.ts";
import type { GgufValue } from "../files/gguf_writer.ts";
import { float, uint } from "../model/architectures/architecture.ts";
import { architectureOf } from "../model/architectures/mod.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import { scalingMetadata } from "./rope_scaling.ts";

/** A vocabulary of byte-level BPE: control tokens, the 256 bytes, and what `merges` make. */
export interface SyntheticVocabulary {
  readonly tokens: readonly string[];
  /** Pairs of earlier tokens, a space between. */
  readonly merges: readonly string[];
}

/** End of text (also unknown and padding), and ChatML's begin and end of a turn. */
export const CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;
export const BOS_ID = 1;
export const EOS_ID = 2;

export const CHAT_TEMPLATE = "{% for message in messages %}" +
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** The vocabulary that these merges make. */
export function vocabularyOf(merges: readonly string[]): SyntheticVocabulary {
  const made = merges.map((merge) => merge.replace(" ", ""));
  return { tokens: [...CONTROL_TOKENS, ...byteCharacters(), ...made], merges };
}

/**
 * A vocabulary of `size` tokens: after the bytes come all words of two letters, of three, and so
 * on, each with and without a space (Ġ) in front.
 *
 * @throws {RangeError} if it is too small for control tokens and bytes.
 */
export function syntheticVocabulary(size: number): SyntheticVocabulary {
  const wanted = size - CONTROL_TOKENS.length - 256;
  if (wanted < 0) {
    throw new RangeError(
      `Cannot create a vocabulary of ${size} tokens: it needs at least ${size - wanted}`,
    );
  }
  const letters = Array.from("etaoinshrdlcumwfgypbvkjxqz"); // By their frequency in English.
  let merges: string[] = [];
  for (let words = ["Ġ", ...letters]; merges.length < wanted;) {
    merges = merges.concat(words.flatMap((word) => letters.map((letter) => `${word} ${letter}`)));
    words = words.flatMap((word) => letters.map((letter) => word + letter));
  }
  return vocabularyOf(merges.slice(0, wanted));
}

/** llama.cpp expects certain tokens in a model whose name has "phi3" in it. */
export function withoutPhi3(name: string): string {
  return name.replace("phi3", "phi");
}

/** What a GGUF file says of the model. @param pre `tokenizer.ggml.pre` */
export function syntheticMetadata(
  h: Hyperparameters,
  { tokens, merges }: SyntheticVocabulary,
  pre: string,
): Map<string, GgufValue> {
  const text = (value: string) => ({ type: "string", value }) as const;
  const texts = (value: readonly string[]) => ({ type: "array", of: "string", value }) as const;
  const { architecture } = h;
  const own = Object.entries({
    ...Object.fromEntries(
      Object.entries(scalingMetadata(h.rope.scaling))
        .map(([key, value]) => [`rope.scaling.${key}`, value]),
    ),
    ...architectureOf(h).write?.(h).gguf,
  });
  return new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.name", text(h.name)],
    ["general.license", text("mit")],
    [`${architecture}.block_count`, uint(h.layers)],
    [`${architecture}.context_length`, uint(h.contextLength)],
    [`${architecture}.embedding_length`, uint(h.dim)],
    [`${architecture}.feed_forward_length`, uint(h.ffnDim)],
    [`${architecture}.attention.head_count`, uint(h.heads)],
    [`${architecture}.attention.head_count_kv`, uint(h.kvHeads)],
    [`${architecture}.attention.key_length`, uint(h.headDim)],
    [`${architecture}.attention.value_length`, uint(h.headDim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, float(h.rmsEpsilon)],
    [`${architecture}.rope.freq_base`, float(h.rope.base)],
    [`${architecture}.rope.dimension_count`, uint(h.rope.dims)],
    [`${architecture}.vocab_size`, uint(h.vocabSize)],
    ...own.map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text(pre)],
    ["tokenizer.ggml.tokens", texts(tokens)],
    ["tokenizer.ggml.token_type", {
      type: "array",
      of: "int32",
      value: tokens.map((_, id) => id < CONTROL_TOKENS.length ? 3 : 1),
    }],
    ["tokenizer.ggml.merges", texts(merges)],
    ["tokenizer.ggml.bos_token_id", uint(BOS_ID)],
    ["tokenizer.ggml.eos_token_id", uint(EOS_ID)],
    ["tokenizer.ggml.unknown_token_id", uint(0)],
    ["tokenizer.ggml.padding_token_id", uint(0)],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
    ["tokenizer.chat_template", text(CHAT_TEMPLATE)],
    ["general.quantization_version", uint(2)],
  ]);
}
