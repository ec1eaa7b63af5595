/** Regular expressions of a tokenizer.json: published ones are accepted, slow ones refused. */

import assert from "node:assert/strict";
import { checkExpression } from "../../engine/text/expressions.ts";

const words = String.raw`[^\r\n\p{L}\p{N}]?`;
const endings = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const [upper, lower] = [
  String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`,
  String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`,
];

const PUBLISHED: Readonly<Record<string, string>> = {
  "GPT-2": String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  "Llama 3": String.raw`${endings}|${words}\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  "Qwen2": String.raw`${endings}|${words}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|${spaces}`,
  "o200k":
    String.raw`${words}${upper}*${lower}+${endings}?|${words}${upper}+${lower}*${endings}?|` +
    String.raw`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${spaces}`,
  "DeepSeek's Chinese": "[一-龥ࠀ-一가-퟿]+",
  "SentencePiece's words": "▁+[^▁]*",
  "three digits": "[0-9][0-9][0-9]",
  "spaces at the end": String.raw`\s+$`,
};

for (const [name, source] of Object.entries(PUBLISHED)) {
  Deno.test(`checkExpression() accepts ${name}`, () => checkExpression(source));
}

const SLOW = [
  "(a+)+$",
  "(?:a+)+",
  "(?:a|a)*b",
  "a*a*b",
  "a+b",
  String.raw`\s*[\r\n]+`,
  String.raw`\s*[\r\n]+|x|\s{1,2}|\s+`,
  `${upper}*${lower}+`,
  String.raw`(a)\1`,
  "(?=a+b)a",
  "(?<=a+)b",
  "a{1,99}b{1,99}c",
  "a?".repeat(30) + "a".repeat(30),
  "a{50,}b",
  "a+?b",
  String.raw`\R+x`,
  "x".repeat(5000),
  "",
  "a|",
];

for (const source of SLOW) {
  Deno.test(`checkExpression() refuses ${source.slice(0, 40)}`, () => {
    assert.throws(
      () => checkExpression(source),
      /^RangeError: the regular expression '.*' may take/,
    );
  });
}
