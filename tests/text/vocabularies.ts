/** Small and medium vocabularies as GGUF metadata, for tests. */

import { load_vocab } from "@lenml/llama2-tokenizer-vocab-llama2";
import type { MetadataValue } from "../../engine/files/model_file.ts";
import { loadTokenizer, type Tokenizer } from "../../engine/text/tokenizer.ts";
import { SPM_SPACE, TOKEN_KIND } from "../../engine/text/vocabulary.ts";

export type Metadata = Map<string, MetadataValue>;

/** SmolLM2's vocabulary, written by fixtures/vocabulary.ts. */
export async function smollm2Metadata(): Promise<Metadata> {
  const path = new URL("../../fixtures/vocabularies/smollm2.json.gz", import.meta.url);
  const bytes = new Blob([await Deno.readFile(path)]).stream();
  const json = await new Response(bytes.pipeThrough(new DecompressionStream("gzip"))).json();
  return new Map(Object.entries(json as Record<string, MetadataValue>));
}

/** A SentencePiece vocabulary of 32,000 tokens, with the scores of the golden tokens-spm.json. */
export function spmMetadata(): Metadata {
  const pieces = Object.entries(load_vocab()).sort(([, a], [, b]) => a - b).map(([piece]) => piece);
  const { control, byte, normal } = TOKEN_KIND;
  return new Map<string, MetadataValue>([
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", pieces.map((piece) => piece.replaceAll(" ", SPM_SPACE))],
    ["tokenizer.ggml.scores", pieces.map((_, id) => id < 259 ? 0 : 259 - id)],
    [
      "tokenizer.ggml.token_type",
      pieces.map((_, id) => id < 3 ? control : id < 259 ? byte : normal),
    ],
  ]);
}

/** A byte-level vocabulary small enough to follow by hand. */
export function tinyMetadata(changes: Record<string, MetadataValue | undefined> = {}): Metadata {
  const values: Record<string, MetadataValue | undefined> = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "c", "Ġ", "ab", "abc", "Ġa", "<tool>"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1, 1, 4],
    "tokenizer.ggml.merges": ["a b", "ab c", "Ġ a"],
    "tokenizer.ggml.eos_token_id": 0,
    ...changes,
  };
  return metadata(values);
}

/** A SentencePiece vocabulary small enough to follow by hand. */
export function tinySpmMetadata(changes: Record<string, MetadataValue | undefined> = {}): Metadata {
  return metadata({
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "aa"],
    "tokenizer.ggml.scores": [0, 0, 0, -1, -2, -3, -4, -5],
    "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 1],
    ...changes,
  });
}

function metadata(values: Record<string, MetadataValue | undefined>): Metadata {
  return new Map(
    Object.entries(values).flatMap(([key, value]) => value === undefined ? [] : [[key, value]]),
  );
}

export async function smollm2(): Promise<Tokenizer> {
  return loadTokenizer(await smollm2Metadata(), "smollm2.gguf");
}

export function spm(): Tokenizer {
  return loadTokenizer(spmMetadata(), "spm.gguf");
}
