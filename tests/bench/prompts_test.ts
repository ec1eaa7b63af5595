import assert from "node:assert/strict";
import { makePrompts } from "../../bench/harness/prompts.ts";

/** Encodes words with the space before them, and counts the calls. */
function wordEncoder() {
  const words = new Map<string, number>();
  const encoder = {
    calls: 0,
    encode(text: string, { bos = true }: { readonly bos?: boolean | undefined } = {}): number[] {
      encoder.calls++;
      const ids = bos ? [0] : [];
      for (const [word] of text.matchAll(/ ?\w+|\W/g)) {
        if (!words.has(word)) words.set(word, words.size + 1);
        ids.push(words.get(word)!);
      }
      return ids;
    },
  };
  return encoder;
}

Deno.test("makePrompts() ends a prompt in its first sentence that is long enough", () => {
  const { encode } = wordEncoder();
  for (let tokens = 24; tokens < 600; tokens++) {
    let text = "";
    const last = { encode: (given: string) => encode(text = given) };
    const [ids] = makePrompts(last, { count: 1, tokens, seed: tokens % 7 });
    assert.deepEqual(ids, encode(text).slice(0, tokens));
    // Without its last sentence, the text is too short.
    assert.ok(encode(text.replace(/(?<=[.] )[^.]+[.] $/, "")).length < tokens, `${tokens}`);
  }
});

Deno.test("makePrompts() makes a very long prompt in a few passes", () => {
  const encoder = wordEncoder();
  const [ids] = makePrompts(encoder, { count: 1, tokens: 300_000, seed: 3 });
  assert.equal(ids!.length, 300_000);
  assert.ok(encoder.calls < 30, `${encoder.calls} passes`);
});
