import assert from "node:assert/strict";
import { WordWrap } from "../../cli/word_wrap.ts";

/** What a terminal shows, which breaks lines at its own width. */
function shown(written: string, columns: number): string[] {
  const lines = [""];
  // deno-lint-ignore no-control-regex
  for (const [part, left] of written.matchAll(/\x1b\[(\d+)D\x1b\[K|[^]/gu)) {
    if (left !== undefined) lines.push([...lines.pop()!].slice(0, -Number(left)).join(""));
    else if (part === "\n") lines.push("");
    else if ([...lines.at(-1)!].length === columns) lines.push(part);
    else lines.push(lines.pop() + part);
  }
  return lines;
}

/** `text` in pieces of `size` characters. */
function wrapped(text: string, size: number, columns = 12): string[] {
  const wrap = new WordWrap(() => columns);
  const pieces = text.match(new RegExp(`[^]{1,${size}}`, "gu")) ?? [];
  return shown(pieces.map((piece) => wrap.push(piece)).join(""), columns);
}

for (const size of [1, 3, 7, 100]) {
  Deno.test(`WordWrap breaks lines between words, by pieces of ${size}`, () => {
    assert.deepEqual(
      wrapped("The king said to the queen, and wept.\n\nThen", size),
      ["The king ", "said to the", "queen, and ", "wept.", "", "Then"],
    );
  });

  Deno.test(`WordWrap leaves a word that is longer than a line to the terminal, by pieces of ${size}`, () => {
    assert.deepEqual(wrapped("See https://example.com/a/page now", size), [
      "See ",
      "https://exam",
      "ple.com/a/pa",
      "ge now",
    ]);
  });
}

Deno.test("WordWrap leaves out a space that ends a full line, and no line end for it", () => {
  assert.deepEqual(wrapped("eleven char s", 1), ["eleven char", "s"]);
  assert.deepEqual(wrapped("eleven char \ns", 1), ["eleven char", "s"]);
});

Deno.test("WordWrap counts cells, and breaks Chinese anywhere", () => {
  const wrap = new WordWrap(() => 12);
  assert.equal(wrap.push("从前有一个国王和王后"), "从前有一个\n国王和王后");
  // Five letters are of one cell each, however many characters they are written by.
  assert.equal(new WordWrap(() => 12).push("hello e\u0301e\u0301e\u0301e\u0301e\u0301").length, 16);
});

Deno.test("WordWrap follows the terminal's width", () => {
  let columns = 80;
  const wrap = new WordWrap(() => columns);
  assert.equal(wrap.push("one two "), "one two ");
  columns = 10;
  assert.equal(wrap.push("three"), "\nthree");
});
