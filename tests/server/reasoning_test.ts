/** Thoughts are separated from answers, wherever the text is cut into pieces. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { endsInThought, marksReasoning, ReasoningSplitter } from "../../server/reasoning.ts";

function split(pieces: readonly string[], inThought = false): [reasoning: string, content: string] {
  const splitter = new ReasoningSplitter(inThought);
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.flush()];
  return [
    parts.map(({ reasoning }) => reasoning).join(""),
    parts.map(({ content }) => content).join(""),
  ];
}

Deno.test("ReasoningSplitter separates thoughts from an answer, and drops their tags and whitespace", () => {
  assert.deepEqual(split(["<think>\nWell.\n</think>\n\nYes."]), ["Well.", "Yes."]);
  assert.deepEqual(split(["Well.\n</think>\n\nYes."], true), ["Well.", "Yes."]);
  assert.deepEqual(split(["Yes, a <think>tag</think>."]), ["", "Yes, a <think>tag</think>."]);
  assert.deepEqual(split(["  Yes."]), ["", "  Yes."]);
  assert.deepEqual(split(["<think>\n\n</think>\n\nYes."]), ["", "Yes."]);
  assert.deepEqual(split(["<think>cut of"]), ["cut of", ""]);
  assert.deepEqual(split(["a</thi"], true), ["a</thi", ""]);
  assert.deepEqual(split(["<thi"]), ["", "<thi"]);
});

Deno.test("ReasoningSplitter does not depend on how the text is cut", () => {
  const part = fc.constantFrom("<think>", "</think>", "\n", " ", "a", "<", "</th", "ink>", "b c");
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 12 }),
      fc.boolean(),
      fc.nat(),
      (parts, inside, seed) => {
        const text = parts.join("");
        const pieces: string[] = [];
        for (let at = 0, size; at < text.length; at += size) {
          size = 1 + (seed + at * 7) % 5;
          pieces.push(text.slice(at, at + size));
        }
        assert.deepEqual(split(pieces, inside), split([text], inside));
      },
    ),
  );
});

Deno.test("marksReasoning() and endsInThought() recognize thoughts in templates and prompts", () => {
  assert.ok(marksReasoning("{% if '</think>' in content %}"));
  assert.ok(!marksReasoning("{{ message.content }}"));
  assert.ok(!marksReasoning(undefined));
  assert.ok(endsInThought("<|assistant|><think>\n"));
  assert.ok(!endsInThought("<think>\n\n</think>\n\n"));
});
