/** Compares pre-tokenizers and added tokens with Hugging Face's `tokenizers`. */

import assert from "node:assert/strict";
import { TextRules } from "../../engine/text/packages.ts";
import { ruleForJavaScript } from "../../engine/text/expressions.ts";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { tokenizerFromJson } from "../../engine/text/tokenizer.ts";

async function golden(name: string) {
  const path = new URL(`../../fixtures/goldens/${name}.json`, import.meta.url);
  return JSON.parse(await Deno.readTextFile(path));
}

Deno.test("preTokenizer() splits texts like the models' own tokenizer.json", async (t) => {
  const { cases } = await golden("words");
  assert.equal(Object.keys(cases).length, 14);
  for (const [name, texts] of Object.entries<[string, string[]][]>(cases)) {
    await t.step(name, () => {
      const { pre_tokenizer } = new TextRules({
        normalizer: null,
        pre_tokenizer: ruleForJavaScript(preTokenizer(name)!.config),
        model: { type: "BPE", vocab: {}, merges: [], ignore_merges: false },
        post_processor: null,
        decoder: null,
        added_tokens: [],
      }, {});
      for (const [text, words] of texts) {
        // These texts have only decimal digits, where Hugging Face's Digits agrees.
        assert.deepEqual(pre_tokenizer!.pre_tokenize(text, { section_index: 0 }), words);
      }
    });
  }
});

Deno.test("tokenizerFromJson() finds added tokens according to their flags", async (t) => {
  const { document, cases } = await golden("added-tokens");
  assert.equal(cases.length, 48);
  for (const { added, normalizer, texts } of cases) {
    const { lstrip, rstrip, single_word, normalized } = added[0];
    const flags = { lstrip, rstrip, single_word, normalized, normalizer: normalizer?.type };
    await t.step(JSON.stringify(flags), () => {
      const pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
      const json = { ...document, added_tokens: added, normalizer, pre_tokenizer };
      const tokenizer = tokenizerFromJson({ json, config: {}, endIds: [] }, "tokenizer.json");
      for (const [text, ids] of texts) assert.deepEqual(tokenizer.encode(text), ids, text);
    });
  }
});
