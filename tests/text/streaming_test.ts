import assert from "node:assert/strict";
import fc from "fast-check";
import { TextStream } from "../../engine/text/streaming.ts";
import type { DecodeOptions, Tokenizer } from "../../engine/text/tokenizer.ts";
import { smollm2, spm } from "./vocabularies.ts";

function pieces(tokenizer: Tokenizer, ids: readonly number[], options?: DecodeOptions): string[] {
  const stream = new TextStream(tokenizer, options);
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

Deno.test("TextStream.push() never returns part of a character", async () => {
  const smol = await smollm2();
  const text = "naïve café ☕️ 🎉 水は高い e\u0301 👩‍👩‍👧";
  const ids = smol.encode(text);
  // Some characters of the text are split over tokens.
  assert.ok(ids.some((id) => smol.tokenText(id) === null));
  const parts = pieces(smol, ids);
  assert.equal(parts.join(""), text);
  assert.ok(parts.every((part) => !part.includes("\ufffd") && part.isWellFormed()));
  assert.equal(parts.at(-1), "");
});

Deno.test("TextStream.push() returns each word as soon as it is complete", () => {
  const llama = spm();
  const ids = [1, ...llama.encode("Hello there, you"), 2];
  assert.deepEqual(pieces(llama, ids), ["", "Hello", " there", ",", " you", "", ""]);
  assert.equal(pieces(llama, ids, { continues: true }).join(""), " Hello there, you");
  assert.equal(pieces(llama, ids, { special: true }).join(""), "<s> Hello there, you</s>");
});

Deno.test("TextStream.push() reads each token once, however long the text is", async () => {
  const smol = await smollm2();
  const ids = smol.encode("naïve café 🎉 水は高い ".repeat(100));
  let looks = 0;
  const text = ids.map((id) => smol.tokenText(id));
  const counted: Tokenizer = Object.assign(Object.create(smol), {
    tokenText: (...args: Parameters<Tokenizer["tokenText"]>) => (looks++, smol.tokenText(...args)),
    tokenBytes: (...args: Parameters<Tokenizer["tokenBytes"]>) => (
      looks++, smol.tokenBytes(...args)
    ),
    decode: () => assert.fail("decodes what it has given"),
  });
  assert.equal(pieces(counted, ids).join(""), smol.decode(ids));
  // A token needs one lookup of its text, and one of its bytes if it has no text. While a character
  // is incomplete, only the bytes are read.
  assert.ok(looks <= ids.length + text.filter((text) => text === null).length);
});

Deno.test("TextStream.flush() returns U+FFFD for an incomplete character", async () => {
  const smol = await smollm2();
  const ids = smol.encode("🎉").slice(0, -1);
  const stream = new TextStream(smol);
  assert.equal(ids.map((id) => stream.push(id)).join(""), "");
  assert.equal(stream.flush(), "\ufffd");
  assert.equal(stream.flush(), "");
});

Deno.test("TextStream replaces an incomplete character that no token completes by U+FFFD", () => {
  const llama = spm();
  const byte = (value: number) => value + 3;
  const ids = [byte(0xe6), byte(0xb0), ...llama.encode("x"), byte(0x80), byte(0xff), byte(0x41)];
  assert.deepEqual(pieces(llama, ids), ["", "", "\ufffd x", "\ufffd", "\ufffd", "A", ""]);
});

Deno.test("TextStream returns the same text as decode() for any ids", async () => {
  for (const tokenizer of [await smollm2(), spm()]) {
    // Small ids are overrepresented: in SentencePiece single bytes are ids 3 to 258.
    const id = fc.oneof(fc.nat({ max: 260 }), fc.nat({ max: tokenizer.vocabSize + 5 }));
    const options = fc.record({ special: fc.boolean(), continues: fc.boolean() });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), options, (ids, options) => {
        const parts = pieces(tokenizer, ids, options);
        assert.equal(parts.join(""), tokenizer.decode(ids, options));
        assert.ok(parts.every((part) => part.isWellFormed()));
      }),
      { seed: 1, numRuns: 2000 },
    );
  }
});
