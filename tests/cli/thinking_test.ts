import assert from "node:assert/strict";
import { endsInThoughts, Thinking, withoutThoughts } from "../../cli/thinking.ts";

/** Returns the thoughts and the answer of a text that arrives in pieces of `size` characters. */
function split(text: string, size: number, thinks = false): [string, string] {
  const thinking = new Thinking(thinks);
  const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
  const parts = [...pieces.flatMap((piece) => thinking.push(piece)), ...thinking.end()];
  const join = (thought: boolean) =>
    parts.filter((part) => part.thought === thought).map(({ text }) => text).join("");
  return [join(true), join(false)];
}

for (const size of [1, 2, 5, 9, 100]) {
  Deno.test(`Thinking separates thoughts from the answer, in pieces of ${size}`, () => {
    const whole = "<think>\nIs 1 < 2? </thin\n</think>\n\nYes: 1 < 2 </think>";
    const end = whole.indexOf("</think>") + "</think>".length;
    assert.deepEqual(split(whole, size), [whole.slice(0, end), whole.slice(end)]);
    assert.deepEqual(split(`\n${whole}`, size), [`\n${whole.slice(0, end)}`, whole.slice(end)]);
    assert.deepEqual(split("Hm.</think>Yes", size, true), ["Hm.</think>", "Yes"]);
    assert.deepEqual(split("<think> cut </thi", size), ["<think> cut </thi", ""]);
    for (const answer of ["", "<thin", "<thinker>", "a <think> b </think>", "</think>"]) {
      assert.deepEqual(split(answer, size), ["", answer]);
    }
  });
}

Deno.test("withoutThoughts() returns the answer alone", () => {
  assert.equal(withoutThoughts("<think>\nHm.\n</think>\n\nYes", false), "Yes");
  assert.equal(withoutThoughts("Hm.</think>Yes", true), "Yes");
  assert.equal(withoutThoughts("<think> cut off </thi", false), "");
  assert.equal(withoutThoughts("<thin", false), "<thin");
});

Deno.test("endsInThoughts() recognizes a prompt that ends inside thoughts", () => {
  assert.ok(endsInThoughts("<|im_start|>assistant\n<think>\n"));
  assert.ok(!endsInThoughts("<|im_start|>assistant\n"));
  assert.ok(!endsInThoughts("<think>\n\n</think>\n\n"));
});
