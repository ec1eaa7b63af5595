import assert from "node:assert/strict";
import { TextRules as LibraryTokenizer } from "../../engine/text/packages.ts";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import type { MetadataValue } from "../../engine/files/model_file.ts";
import { preTokenizer, preTokenizerNames } from "../../engine/text/pre_tokenizers.ts";
import { loadTokenizer } from "../../engine/text/tokenizer.ts";
import { tinyMetadata, tinySpmMetadata } from "./vocabularies.ts";
import { cpuSeconds } from "../time.ts";

const BYTE_TOKENS = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

const TOKENS = ["<|end|>", "a", "b", "c", "Ġ", "ab", "abc", "Ġa", "<tool>"];

/** Faults: a name, the changed metadata, and the error message that they must cause. */
const FAULTS: readonly [string, Record<string, MetadataValue | undefined>, RegExp][] = [
  ["no model", { model: undefined }, /key 'tokenizer\.ggml\.model' is missing/],
  ["model of a wrong type", { model: 5 }, /key 'tokenizer\.ggml\.model' is 5, not a string/],
  ["no tokens", { tokens: undefined }, /key 'tokenizer\.ggml\.tokens' is missing/],
  ["tokens that are a string", { tokens: "a" }, /tokens' is 'a', not an array/],
  ["tokens that are empty", { tokens: [], token_type: [] }, /tokens' is an empty array/],
  [
    "a token that is a number",
    { tokens: [...TOKENS.slice(1), 7] },
    /contains 7 at index 8, not a str/,
  ],
  [
    "a duplicate token",
    { tokens: TOKENS.with(3, "a") },
    /tokens' contains 'a' twice, as tokens 1 and 3/,
  ],
  ["too few token types", { token_type: [3, 1] }, /token_type' has 2 values for 9 tokens/],
  [
    "an unknown token type",
    { token_type: [3, 1, 1, 1, 7, 1, 1, 1, 1] },
    /token_type' contains 7 at index 4, not a token type \(0 to 6\)/,
  ],
  ["no merges", { merges: undefined }, /key 'tokenizer\.ggml\.merges' is missing/],
  ["merges that are a number", { merges: 3 }, /merges' is 3, not an array/],
  [
    "a merge without a space",
    { merges: ["a b", "ab"] },
    /merges' contains 'ab' at index 1: it is not two/,
  ],
  [
    "a merge of an unknown token",
    { merges: ["a x"] },
    /contains 'a x' at index 0: 'x' is not a token/,
  ],
  ["a merge into an unknown token", { merges: ["b c"] }, /at index 0: 'bc' is not a token/],
  ["a merge with two spaces", { merges: ["a b c"] }, /'b c' is not a token/],
  ["EOS of a wrong type", { eos_token_id: "0" }, /eos_token_id' is '0'/],
  ["a flag that is a number", { add_bos_token: 1 }, /add_bos_token' is 1, not a boolean/],
  [
    "BOS required but missing",
    { add_bos_token: true },
    /add_bos_token' is true, but the file defines no BOS/,
  ],
];

const SPM_FAULTS: typeof FAULTS = [
  ["no scores", { scores: undefined }, /key 'tokenizer\.ggml\.scores' is missing/],
  ["too many scores", { scores: Array(9).fill(0) }, /scores' has 9 values for 8 tokens/],
  [
    "a score that is NaN",
    { scores: [0, 0, 0, NaN, 0, 0, 0, 0] },
    /contains NaN at index 3, not a fin/,
  ],
  [
    "a score that is infinite",
    { scores: [0, 0, 0, 0, -Infinity, 0, 0, 0] },
    /contains -Infinity at/,
  ],
  ...["<0x-1>", "<0xZZ>", "<0x1>", "<0x041>", "x"].map((piece) =>
    [
      `the byte token ${piece}`,
      {
        tokens: ["<unk>", "<s>", "</s>", piece, "a", "b", "▁a", "aa"],
        token_type: [2, 3, 3, 6, 1, 1, 1, 1],
      },
      /tokens' contains '.*' as byte token 3, not one of '<0x00>' to '<0xFF>'/,
    ] as const
  ).map(([name, changes, message]) => [name, changes, message] as (typeof FAULTS)[number]),
];

function prefixed(changes: Record<string, MetadataValue | undefined>) {
  return Object.fromEntries(
    Object.entries(changes).map(([key, value]) => [`tokenizer.ggml.${key}`, value]),
  );
}

for (
  const [kind, faults, metadata] of [
    ["byte-level", FAULTS, tinyMetadata],
    ["SentencePiece", SPM_FAULTS, tinySpmMetadata],
  ] as const
) {
  Deno.test(`loadTokenizer() refuses faulty ${kind} metadata, and names key and value`, async (t) => {
    loadTokenizer(metadata(), "m.gguf");
    for (const [name, changes, message] of faults) {
      await t.step(name, () => {
        assert.throws(() => loadTokenizer(metadata(prefixed(changes)), "m.gguf"), (error) => {
          assert.ok(error instanceof ModelFormatError, String(error));
          assert.match(error.message, /^Cannot read the tokenizer of m\.gguf: [^\n]*$/);
          assert.match(error.message, message);
          return true;
        });
      });
    }
  });
}

Deno.test("loadTokenizer() names an unknown tokenizer, and the supported ones", () => {
  const load = (changes: Record<string, MetadataValue>) => () =>
    loadTokenizer(tinyMetadata(prefixed(changes)), "m.gguf");
  assert.throws(load({ model: "bert" }), (error) => {
    assert.ok(error instanceof UnsupportedError);
    assert.match(
      error.message,
      /^Cannot read the tokenizer of m\.gguf: its kind is 'bert', but only /,
    );
    assert.match(error.message, /'gpt2' .* and 'llama' /);
    return true;
  });
  assert.throws(load({ pre: "viking\n" }), (error) => {
    assert.ok(error instanceof UnsupportedError);
    assert.match(error.message, /its pre-tokenizer is 'viking\\u\{a\}'; tvllm supports /);
    for (const name of ["gpt-2", "smollm", "llama-bpe", "qwen2", "default"]) {
      assert.ok(error.message.includes(name), name);
    }
    return true;
  });
});

Deno.test("loadTokenizer() accepts peculiarities of real files", () => {
  // Padded vocabularies have several empty tokens.
  const padded = loadTokenizer(
    tinyMetadata(prefixed({ tokens: [...TOKENS, "", ""], token_type: Array(11).fill(1) })),
    "m.gguf",
  );
  assert.deepEqual(padded.encode("abc a"), [6, 7]);
  assert.equal(padded.decode([9, 6, 10]), "abc");
  // "<|end|>" ends an answer although the file marks it as normal.
  assert.ok(padded.isControl(0));
  // Files of 2023 have no token types, no pre-tokenizer and no end token.
  const old = loadTokenizer(
    tinyMetadata(prefixed({
      tokens: TOKENS.with(0, "x"),
      token_type: undefined,
      pre: undefined,
      eos_token_id: undefined,
    })),
    "m.gguf",
  );
  assert.deepEqual([...old.eosIds], []);
  assert.deepEqual(old.encode("abc a"), [6, 7]);
  // In SentencePiece vocabularies without types, byte tokens are recognized by their spelling.
  const tokens = ["<unk>", "<s>", "</s>", "▁a", ...BYTE_TOKENS];
  const scores = tokens.map(() => 0);
  const untyped = loadTokenizer(
    tinySpmMetadata(prefixed({ tokens, scores, token_type: undefined })),
    "m.gguf",
  );
  assert.equal(untyped.decode([3, 4 + 0x41]), "aA");
  assert.deepEqual([untyped.bosId, [...untyped.eosIds]], [1, [2]]);
});

Deno.test("loadTokenizer() requires byte tokens or an unknown token, so that no text is lost", () => {
  const bare = ["<s>", "</s>", "▁", "a"];
  const load = (tokens: string[], changes: Record<string, MetadataValue> = {}) =>
    loadTokenizer(
      tinySpmMetadata(prefixed({
        tokens,
        scores: tokens.map(() => 0),
        token_type: tokens.map((piece) => piece === "<unk>" ? 2 : /^<\/?s>$/.test(piece) ? 3 : 1),
        ...changes,
      })),
      "m.gguf",
    );
  assert.throws(() => load(bare), /has neither the tokens '<0x00>' to '<0xFF>' nor an unknown tok/);
  const damaged = [...bare, ...BYTE_TOKENS].with(4 + 0x41, "<0x4!>");
  assert.throws(
    () => load(damaged),
    /it has only 255 of the 256 byte tokens: '<0x41>' is missing/,
  );
  assert.deepEqual(load([...bare, ...BYTE_TOKENS]).encode("aé"), [2, 3, 4 + 0xc3, 4 + 0xa9]);
  assert.deepEqual(load([...bare, "<unk>"]).encode("aé"), [2, 3, 4]);
});

Deno.test("loadTokenizer() encodes a letter as text even if the file names it as BOS or as an end token", () => {
  const words = tinyMetadata();
  const named = tinyMetadata(prefixed({ bos_token_id: 1, eos_token_id: 2 }));
  const [plain, odd] = [words, named].map((metadata) => loadTokenizer(metadata, "m.gguf"));
  for (const text of ["abc", "a", "b", "ab a"]) {
    assert.deepEqual(odd!.encode(text), plain!.encode(text), text);
    assert.equal(odd!.decode(odd!.encode(text)), text);
  }
  assert.deepEqual([odd!.bosId, odd!.eosIds.has(2)], [1, true]);
});

Deno.test("loadTokenizer() accepts tokens named like properties of JavaScript's objects", () => {
  const tokens = ["__proto__", "constructor", "t", "o", "S", "toString", "tS", "to"];
  const tokenizer = loadTokenizer(
    tinyMetadata(prefixed({
      tokens,
      token_type: [4, 4, 1, 1, 1, 4, 1, 1],
      merges: ["t o"],
      eos_token_id: undefined,
    })),
    "m.gguf",
  );
  assert.deepEqual(tokenizer.encode("to__proto__constructor"), [7, 0, 1]);
  assert.equal(tokenizer.decode([0, 5]), "__proto__toString");
});

Deno.test("loadTokenizer() quickly refuses SentencePiece tokens that are too long to split", () => {
  const tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "a".repeat(2 ** 20)];
  const seconds = cpuSeconds(() =>
    assert.throws(
      () => loadTokenizer(tinySpmMetadata(prefixed({ tokens })), "m.gguf"),
      /^ModelFormatError: Cannot read the tokenizer of m\.gguf: the sum of the squared token lengths/,
    )
  );
  assert.ok(seconds < 1, `${seconds} s of CPU time`);
});

Deno.test("pre-tokenizers split a text as computed by hand", () => {
  // The words of the text by each rule, worked out by hand from the regular expressions.
  const text = "We'LL pay 1234€!!\n\n  now";
  const words: Record<string, string[]> = {
    "default": ["We", "'", "LL", " pay", " ", "123", "4", "€", "!!", "\n\n ", " now"],
    "gpt-2": ["We", "'", "LL", " pay", " 1234", "€!!", "\n\n ", " now"],
    "smollm": ["We", "'", "LL", " pay", " ", "1", "2", "3", "4", "€!!", "\n\n ", " now"],
    "llama-bpe": ["We", "'LL", " pay", " ", "123", "4", "€!!\n\n", " ", " now"],
    "qwen2": ["We", "'LL", " pay", " ", "1", "2", "3", "4", "€!!\n\n", " ", " now"],
  };
  for (const [name, expected] of Object.entries(words)) {
    assert.deepEqual(split(name, text), expected, name);
  }
  assert.ok(preTokenizerNames().length >= 20);
});

/** Returns the words into which a pre-tokenizer splits a text. */
function split(name: string, text: string): string[] {
  const { config } = preTokenizer(name)!;
  const rules = new LibraryTokenizer({
    normalizer: null,
    pre_tokenizer: config,
    model: { type: "BPE", vocab: {}, merges: [], ignore_merges: false },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    added_tokens: [],
  }, {});
  return rules.pre_tokenizer!.pre_tokenize(text).map((word) =>
    rules.decoder!.decode_chain([word]).join("")
  );
}

Deno.test("loadTokenizer() does not merge text into a control token", () => {
  const tokenizer = loadTokenizer(
    tinyMetadata(prefixed({ token_type: [3, 1, 1, 1, 1, 1, 3, 1, 4] })),
    "m.gguf",
  );
  assert.deepEqual(tokenizer.encode("abc"), [5, 3]);
  assert.deepEqual(tokenizer.encode("abc", { special: true }), [6]);
});

Deno.test("loadTokenizer() warns about special tokens that do not exist, and ignores them", () => {
  const ids: Record<string, MetadataValue> = {
    eos_token_id: 9,
    bos_token_id: 2 ** 32 - 1,
    eot_token_id: 2n ** 63n,
    eom_token_id: -1,
  };
  for (const [key, id] of Object.entries(ids)) {
    const changes = { "tokenizer.ggml.eos_token_id": undefined, [`tokenizer.ggml.${key}`]: id };
    const tokenizer = loadTokenizer(tinyMetadata(changes), "m.gguf");
    assert.deepEqual([tokenizer.bosId, tokenizer.eosId], [undefined, undefined]);
    assert.deepEqual(tokenizer.warnings, [
      `In the tokenizer of m.gguf: key 'tokenizer.ggml.${key}' is ${id}, not one of the 9 tokens; ` +
      "the key is ignored",
    ]);
  }
  assert.deepEqual(loadTokenizer(tinyMetadata(), "m.gguf").warnings, []);
});

Deno.test("loadTokenizer() warns if a file does not name its pre-tokenizer", () => {
  const tokenizer = loadTokenizer(tinyMetadata({ "tokenizer.ggml.pre": undefined }), "m.gguf");
  assert.match(
    tokenizer.warnings.join(),
    /^In the tokenizer of m\.gguf: its pre-tokenizer /,
  );
  assert.deepEqual(loadTokenizer(tinySpmMetadata(), "m.gguf").warnings, []);
});

Deno.test("loadTokenizer() lets Phi-3's tokens absorb the spaces after them", () => {
  const changes = { "general.name": "Phi-3 mini" };
  const encode = (metadata: Map<string, MetadataValue>) =>
    loadTokenizer(metadata, "m.gguf").encode("<tool> a", { special: true });
  assert.deepEqual(encode(tinyMetadata(changes)), [8, 1]);
  assert.deepEqual(encode(tinyMetadata()), [8, 7]);
});
