import assert from "node:assert/strict";
import { nearest } from "../../cli/suggestion.ts";

const COMMANDS = ["generate", "perplexity", "tokenize", "inspect", "bench", "pull", "list", "rm"];
const OPTIONS = ["--temp", "--top-k", "--top-p", "--max-tokens", "--ctx-size", "--model", "--json"];

for (
  const [word, known, expected] of [
    ["generat", COMMANDS, "generate"],
    ["Bench", COMMANDS, "bench"],
    ["benhc", COMMANDS, "bench"],
    ["tok", COMMANDS, "tokenize"],
    ["run", COMMANDS, "generate"],
    ["ls", COMMANDS, "list"],
    ["frobnicate", COMMANDS, undefined],
    ["x", COMMANDS, undefined],
    ["--temprature", OPTIONS, "--temp"],
    ["--temperature", OPTIONS, "--temp"],
    ["-temp", OPTIONS, "--temp"],
    ["--max_tokens", OPTIONS, "--max-tokens"],
    ["--n-predict", OPTIONS, "--max-tokens"],
    ["q4_k_n", ["Q4_K", "Q4_K_M"], "Q4_K_M"],
    ["--top", OPTIONS, undefined], // two options are equally near
    ["--colour", OPTIONS, undefined],
  ] as const
) {
  Deno.test(`nearest() to ${word} is ${expected}`, () => {
    assert.equal(nearest(word, known), expected);
  });
}
