import assert from "node:assert/strict";
import { smollm2, spm } from "../text/vocabularies.ts";
import { cpuSeconds } from "../time.ts";

Deno.test("encode() handles a megabyte without word boundaries in seconds", async () => {
  const random = (alphabet: string) => {
    let state = 1;
    return Array.from({ length: 1_000_000 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return alphabet[(state >>> 8) % alphabet.length];
    }).join("");
  };
  const texts = [
    "a".repeat(1_000_000),
    random("abcdefghijklmnopqrstuvwxyz"),
    " ".repeat(1_000_000),
  ];
  for (const tokenizer of [await smollm2(), spm()]) {
    for (const text of texts) {
      let ids: number[] = [];
      const seconds = cpuSeconds(() => ids = tokenizer.encode(text));
      assert.ok(seconds < 5, `${seconds} s of CPU time`);
      assert.equal(tokenizer.decode(ids), text);
    }
  }
});
