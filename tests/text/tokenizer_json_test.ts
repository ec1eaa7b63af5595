import assert from "node:assert/strict";
import { cpuSeconds } from "../time.ts";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { tokenizerFromJson } from "../../engine/text/tokenizer.ts";

/** Returns a SentencePiece-like tokenizer.json, like those of Llama 2 and TinyLlama. */
function llamaJson(changes: object = {}) {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => [`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, byte + 3],
  );
  return {
    added_tokens: [
      { id: 0, content: "<unk>", special: true },
      { id: 1, content: "<s>", special: true },
      { id: 2, content: "</s>", special: true },
      { id: 265, content: "<tool>", special: false },
    ],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    },
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      byte_fallback: true,
      vocab: {
        "<unk>": 0,
        "<s>": 1,
        "</s>": 2,
        ...Object.fromEntries(bytes),
        "▁": 259,
        a: 260,
        b: 261,
        "▁a": 262,
        "ab": 264,
      },
      merges: ["▁ a", "a b"],
      ...changes,
    },
  };
}

const config = { bos_token: { content: "<s>" }, eos_token: "</s>" };

Deno.test("tokenizerFromJson() reads a tokenizer with byte fallback", () => {
  const tokenizer = tokenizerFromJson(
    { json: llamaJson(), config, endIds: [264] },
    "tokenizer.json",
  );
  assert.deepEqual(tokenizer.encode("a ab é"), [262, 262, 261, 259, 198, 172]);
  assert.equal(tokenizer.decode([262, 262, 261, 259, 198, 172]), "a ab é");
  assert.deepEqual(tokenizer.encode("b<tool>b</s>", { special: true }), [
    259,
    261,
    265,
    259,
    261,
    2,
  ]);
  assert.deepEqual([tokenizer.bosId, tokenizer.eosId, tokenizer.addBos], [1, 2, true]);
  assert.deepEqual([...tokenizer.eosIds].sort(), [2, 264]);
  // No token has the id 263.
  assert.equal(tokenizer.vocabSize, 266);
  assert.equal(tokenizer.decode([263]), "");
});

Deno.test("tokenizerFromJson() adds Metaspace's first space only at the beginning of the text", () => {
  const json = {
    ...llamaJson(),
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first" },
  };
  const tokenizer = tokenizerFromJson({
    json,
    config: { ...config, add_bos_token: false },
    endIds: [],
  }, "t.json");
  assert.deepEqual(tokenizer.encode("a<tool>a"), [262, 265, 260]);
  assert.equal(tokenizer.decode([262, 265, 260]), "a<tool>a");
  assert.ok(!tokenizer.addBos);
});

const json = llamaJson();

/** Faults: a name, the faulty file, and the type and message of the error that it must cause. */
const FAULTS: readonly [string, unknown, typeof ModelFormatError, RegExp][] = [
  ["no object", null, UnsupportedError, /its model is 'undefined', but only plain 'BPE'/],
  ["another model", llamaJson({ type: "Unigram" }), UnsupportedError, /its model is 'Unigram'/],
  ["an affix", llamaJson({ end_of_word_suffix: "</w>" }), UnsupportedError, /affix '<\/w>'/],
  ["an unknown rule", { ...json, normalizer: { type: "Rot13" } }, UnsupportedError, /Rot13/],
  [
    "an expression that does not compile",
    { ...json, pre_tokenizer: { type: "Split", pattern: { Regex: "(" } } },
    UnsupportedError,
    /./,
  ],
  [
    "an expression that takes forever",
    { ...json, pre_tokenizer: { type: "Split", pattern: { Regex: "(a+)+$" } } },
    UnsupportedError,
    /the regular expression '\(a\+\)\+\$' may take too long/,
  ],
  [
    "normalizers that double the text",
    {
      ...json,
      normalizer: {
        type: "Sequence",
        normalizers: Array(10).fill({ type: "Replace", pattern: { String: "a" }, content: "aa" }),
      },
    },
    UnsupportedError,
    /its rules can make a text more than 8 times as long/,
  ],
  [
    "a normalizer that puts text between all characters",
    { ...json, normalizer: { type: "Replace", pattern: { Regex: "b*" }, content: "a" } },
    UnsupportedError,
    /the regular expression 'b\*' matches the empty string/,
  ],
  [
    "a rule's field of another type",
    {
      ...json,
      pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: 5 },
    },
    UnsupportedError,
    /a rule's behavior is '5', not a string/,
  ],
  [
    "pieces of no length",
    { ...json, pre_tokenizer: { type: "FixedLength", length: 0 } },
    UnsupportedError,
    /the length of a 'FixedLength' rule is '0'/,
  ],
  [
    "rules without end",
    { ...json, normalizer: { type: "Sequence", normalizers: Array(1000).fill({ type: "NFC" }) } },
    UnsupportedError,
    /it has more than 16 rules/,
  ],
  [
    "a long added token",
    { ...json, added_tokens: [{ id: 300, content: "<".repeat(300) }] },
    ModelFormatError,
    /added token 300 has 300 characters/,
  ],
  ["no tokens", { model: { type: "BPE" } }, ModelFormatError, /it has no tokens/],
  ["an id below 0", llamaJson({ vocab: { a: -1 } }), ModelFormatError, /'a' has the invalid id -1/],
  [
    "a huge id",
    llamaJson({ vocab: { a: 2 ** 31 } }),
    ModelFormatError,
    /has the invalid id 2147483648/,
  ],
  [
    "an id that is text",
    llamaJson({ vocab: { a: "1" } }),
    ModelFormatError,
    /'a' has the invalid id 1/,
  ],
  ["an id of two tokens", llamaJson({ vocab: { a: 5, b: 5 } }), ModelFormatError, /share id 5/],
  ["a token of two ids", llamaJson({ vocab: { "<s>": 7 } }), ModelFormatError, /two ids, 1 and 7/],
  [
    "an added token without content",
    { ...json, added_tokens: [{ id: 5 }] },
    ModelFormatError,
    /added token 5 has no content/,
  ],
  [
    "a byte token missing",
    llamaJson({ vocab: { "<0x41>": 259, a: 260 }, merges: [] }),
    ModelFormatError,
    /it has only 1 of the 256 byte tokens: '<0x00>' is missing/,
  ],
  [
    "a merge of one",
    llamaJson({ merges: ["a"] }),
    ModelFormatError,
    /merge 0 'a': it does not have two/,
  ],
  ["an unknown merge", llamaJson({ merges: [["a", "x"]] }), ModelFormatError, /'x' is not a tok/],
];

Deno.test("tokenizerFromJson() refuses faulty files with an error of one line", async (t) => {
  for (const [name, json, kind, message] of FAULTS) {
    await t.step(name, () => {
      assert.throws(
        () => tokenizerFromJson({ json, config, endIds: [] }, "tokenizer.json"),
        (error) => {
          assert.ok(error instanceof kind, String(error));
          assert.match(error.message, /^Cannot read the tokenizer of tokenizer\.json: [^\n]*$/);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
  assert.throws(
    () => tokenizerFromJson({ json: llamaJson(), config, endIds: [999] }, "tokenizer.json"),
    /end token 999 is not in the vocabulary of 266/,
  );
});

Deno.test("Tokenizer.encode() refuses thousands of combining marks, which take quadratic time to sort", () => {
  const file = { ...json, normalizer: { type: "NFC" } };
  const tokenizer = tokenizerFromJson({ json: file, config, endIds: [] }, "tokenizer.json");
  const text = (marks: number) => "a" + "\u0323\u0302".repeat(marks / 2);
  assert.ok(tokenizer.encode(text(1000)).length > 0);
  assert.throws(
    () => tokenizer.encode(text(100_000)),
    /^RequestError: Cannot encode the text: it has/,
  );
});

Deno.test("Tokenizer.encode() quickly finds thousands of overlapping added tokens", () => {
  const added_tokens = Array.from({ length: 5000 }, (_, i) => ({
    id: 300 + i,
    content: `${"<".repeat(1 + i % 120)}${i}`,
  }));
  const file = { ...json, added_tokens };
  const tokenizer = tokenizerFromJson({ json: file, config: {}, endIds: [] }, "tokenizer.json");
  const seconds = cpuSeconds(() => tokenizer.encode("<".repeat(100_000)));
  assert.ok(seconds < 5, `${seconds} s of CPU time`);
  assert.deepEqual(tokenizer.encode("<<1a<0"), [301, 262, 300]);
});
