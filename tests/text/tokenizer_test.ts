import assert from "node:assert/strict";
import fc from "fast-check";
import { loadTokenizer } from "../../engine/text/tokenizer.ts";
import { smollm2, spm, tinyMetadata, tinySpmMetadata } from "./vocabularies.ts";

Deno.test("encode() encodes the spelling of control tokens as text, unless `special` is set", async () => {
  const smol = await smollm2();
  const text = "a<|im_end|>b";
  assert.ok(!smol.encode(text).includes(2));
  assert.equal(smol.decode(smol.encode(text)), text);
  assert.deepEqual(smol.encode(text, { special: true }), [
    ...smol.encode("a"),
    2,
    ...smol.encode("b"),
  ]);
  const llama = spm();
  assert.ok(llama.encode("a<s>b</s>").every((id) => id > 2));
  assert.equal(llama.decode(llama.encode("a<s>b</s>")), "a<s>b</s>");
  // As in llama.cpp, SentencePiece's space goes before the text after each control token.
  assert.deepEqual(llama.encode("<s>Hello", { special: true }), [1, ...llama.encode("Hello")]);
});

Deno.test("encode() finds the longest special token, and user-defined ones always", () => {
  const tokenizer = loadTokenizer(
    tinyMetadata({
      "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "c", "Ġ", "<|", "abc", "<|end", "<tool>"],
      "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 3, 1, 3, 4],
      "tokenizer.ggml.merges": [],
    }),
    "m.gguf",
  );
  assert.deepEqual(tokenizer.encode("a<|end|><|endb<|", { special: true }), [1, 0, 7, 2, 5]);
  assert.deepEqual(tokenizer.encode("a<tool>b"), [1, 8, 2]);
  assert.equal(tokenizer.decode([1, 8, 2]), "a<tool>b");
  assert.ok(!tokenizer.isControl(8));
});

Deno.test("decode() omits control tokens unless `special` is set", async () => {
  const smol = await smollm2();
  const ids = [1, ...smol.encode("hi"), 2];
  assert.equal(smol.decode(ids), "hi");
  assert.equal(smol.decode(ids, { special: true }), "<|im_start|>hi<|im_end|>");
  assert.deepEqual(smol.tokenBytes(2), new Uint8Array(0));
  assert.deepEqual(smol.tokenBytes(2, true), new TextEncoder().encode("<|im_end|>"));
  assert.equal(smol.decode([]), "");
});

Deno.test("decode() removes SentencePiece's first space, unless it continues a text", () => {
  const llama = spm();
  const ids = llama.encode("there was");
  assert.equal(llama.decode(ids), "there was");
  assert.equal(llama.decode(ids, { continues: true }), " there was");
  assert.equal(llama.decode([1, ...ids]), "there was");
});

Deno.test("decode() ignores ids beyond the vocabulary", async () => {
  // Output heads are padded to multiples of 64 or more rows.
  const smol = await smollm2();
  assert.equal(smol.decode([smol.vocabSize, 5_000_000]), "");
});

Deno.test("piece() shows a token on one line", async () => {
  const smol = await smollm2();
  const piece = (text: string) => smol.encode(text).map((id) => smol.piece(id)).join("|");
  assert.equal(piece("Hello world\n\tx"), "Hello| world|\\n|\\t|x");
  assert.equal(piece("é水"), "é|\\xe6|\\xb0|\\xb4");
  assert.equal(smol.piece(2), "<|im_end|>");
  assert.equal(spm().piece(4), "\\u{1}");
});

Deno.test("encode() with a byte-level vocabulary keeps every text that it can spell", async () => {
  // SmolLM2's vocabulary lacks some bytes. As in llama.cpp, characters with such bytes are omitted.
  const smol = await smollm2();
  const spelled = new Set<number>();
  for (let id = 0; id < smol.vocabSize; id++) {
    const bytes = smol.tokenBytes(id);
    if (bytes.length === 1) spelled.add(bytes[0]!);
  }
  assert.equal(spelled.size, 235);
  const canSpell = (c: string) => new TextEncoder().encode(c).every((byte) => spelled.has(byte));
  const characters = fc.string({ unit: "binary", maxLength: 60 })
    .map((text) => Array.from(text.toWellFormed(), (c) => canSpell(c) ? c : "?").join(""));
  fc.assert(
    fc.property(characters, (text) => {
      assert.equal(smol.decode(smol.encode(text)), text);
    }),
    { seed: 1, numRuns: 500 },
  );
});

Deno.test("encode() with a SentencePiece vocabulary keeps every text except U+2581", () => {
  const llama = spm();
  const characters = fc.string({ unit: "binary", maxLength: 60 })
    .map((text) => text.toWellFormed().replaceAll("\u2581", " "));
  fc.assert(
    fc.property(characters, (text) => {
      assert.equal(llama.decode(llama.encode(text)), text);
    }),
    { seed: 1, numRuns: 500 },
  );
});

Deno.test("encode() replaces lone surrogates by U+FFFD, and keeps NUL and U+FEFF", async () => {
  for (const tokenizer of [await smollm2(), spm()]) {
    const decoded = (text: string) => tokenizer.decode(tokenizer.encode(text));
    assert.equal(decoded("a\ud800b\udc00"), "a\ufffdb\ufffd");
    assert.equal(decoded("\ufeffa\0b\ufeff"), "\ufeffa\0b\ufeff");
  }
});

Deno.test("encode() with SentencePiece spells unknown characters as bytes, or else as <unk>", () => {
  assert.deepEqual(spm().encode("\u{1f9ff}"), [28705, 243, 162, 170, 194]);
  const noBytes = loadTokenizer(tinySpmMetadata(), "m.gguf");
  assert.deepEqual(noBytes.encode("a?b"), [6, 0, 5]);
});

Deno.test("encode() with SentencePiece merges equal scores from the left", () => {
  const llama = loadTokenizer(
    tinySpmMetadata({
      "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a", "b", "aa", "aaa"],
      "tokenizer.ggml.scores": [0, 0, 0, -1, -2, -3, -4, -5],
      "tokenizer.ggml.add_space_prefix": false,
    }),
    "m.gguf",
  );
  // a a a a a → aa aa a → aa aaa.
  assert.deepEqual(llama.encode("aaaaa"), [6, 7]);
  assert.deepEqual(llama.encode("aaa"), [7]);
});

Deno.test("encode() with SentencePiece works on whole texts if tokens have inner spaces", () => {
  const llama = loadTokenizer(
    tinySpmMetadata({
      "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a", "b", "a▁", "a▁b"],
    }),
    "m.gguf",
  );
  assert.deepEqual(llama.encode("a b"), [3, 7]);
});
