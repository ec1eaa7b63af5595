/** Builds metadata and vocabularies of synthetic models. */

import { byteCharacters } from "../files/byte_characters.ts";
import type { GgufValue } from "../files/gguf_writer.ts";
import { float, uint } from "../model/architectures/architecture.ts";
import { architectureOf } from "../model/architectures/mod.ts";
import type { Hyperparameters } from "../model/hyperparameters.ts";
import { scalingMetadata } from "./rope_scaling.ts";

/** A byte-level BPE vocabulary: control tokens, the 256 bytes, and the results of `merges`. */
export interface SyntheticVocabulary {
  readonly tokens: readonly string[];
  /** Pairs of earlier tokens, separated by a space. */
  readonly merges: readonly string[];
}

/**
 * End of text (also used as unknown and padding token), and ChatML's start and end of a message.
 */
export const CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;
export const BOS_ID = 1;
export const EOS_ID = 2;

export const CHAT_TEMPLATE = "{% for message in messages %}" +
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Returns the vocabulary with these merges. */
export function vocabularyOf(merges: readonly string[]): SyntheticVocabulary {
  const made = merges.map((merge) => merge.replace(" ", ""));
  return { tokens: [...CONTROL_TOKENS, ...byteCharacters(), ...made], merges };
}

/**
 * Returns a vocabulary of `size` tokens: after the bytes, all words of two letters, of three, and
 * so on, in which a space (Ġ) may be the first letter.
 *
 * @throws {RangeError} if `size` is too small for control tokens and bytes.
 */
export function syntheticVocabulary(size: number): SyntheticVocabulary {
  const wanted = size - CONTROL_TOKENS.length - 256;
  if (wanted < 0) {
    throw new RangeError(
      `Cannot create a vocabulary of ${size} tokens: it needs at least ${size - wanted}`,
    );
  }
  const letters = Array.from("etaoinshrdlcumwfgypbvkjxqz"); // In the order of their frequency in English.
  let merges: string[] = [];
  for (let words = ["Ġ", ...letters]; merges.length < wanted;) {
    merges = merges.concat(words.flatMap((word) => letters.map((letter) => `${word} ${letter}`)));
    words = words.flatMap((word) => letters.map((letter) => word + letter));
  }
  return vocabularyOf(merges.slice(0, wanted));
}

/** Avoids "phi3" in a model's name, because llama.cpp expects certain tokens in such models. */
export function withoutPhi3(name: string): string {
  return name.replace("phi3", "phi");
}

/** Returns the model's metadata for a GGUF file. @param pre value of `tokenizer.ggml.pre` */
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
