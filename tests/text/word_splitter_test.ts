import assert from "node:assert/strict";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { textRules, WordSplitter } from "../../engine/text/word_splitter.ts";

Deno.test("WordSplitter gives the words of the whole rule, but not all at once", () => {
  const rule = preTokenizer("smollm")!.config;
  const text = "Once upon 1234 times, 'tis said.\n\n".repeat(200) + "7".repeat(50_000);
  const lists = [...new WordSplitter(rule).words(text, 0)];
  const whole = textRules(null, rule).pre_tokenizer!.pre_tokenize(text, { section_index: 0 });
  assert.deepEqual(lists.flat(), whole);
  assert.equal(lists.length, 4);
});

Deno.test("WordSplitter without a rule leaves the text whole", () => {
  assert.deepEqual([...new WordSplitter(null).words("a b", 0)], [["a b"]]);
});
