import assert from "node:assert/strict";
import { WordWrap } from "../../cli/word_wrap.ts";

/** The lines that a terminal of this width shows, which breaks long lines itself. */
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

/** The lines shown when `text` is written in pieces of `size` characters. */
function wrapped(text: string, size: number, columns = 12): string[] {
  const wrap = new WordWrap(() => columns);
  const pieces = text.match(new RegExp(`[^]{1,${size}}`, "gu")) ?? [];
  return shown(pieces.map((piece) => wrap.push(piece)).join(""), columns);
}

for (const size of [1, 3, 7, 100]) {
  Deno.test(`WordWrap breaks lines between words, in pieces of ${size}`, () => {
    assert.deepEqual(
      wrapped("The king said to the queen, and wept.\n\nThen", size),
      ["The king ", "said to the", "queen, and ", "wept.", "", "Then"],
    );
  });

  Deno.test(`WordWrap leaves a word that is longer than a line to the terminal, in pieces of ${size}`, () => {
    assert.deepEqual(wrapped("See https://example.com/a/page now", size), [
      "See ",
      "https://exam",
      "ple.com/a/pa",
      "ge now",
    ]);
  });
}

Deno.test("WordWrap drops a space at the end of a full line, and adds no extra line for it", () => {
  assert.deepEqual(wrapped("eleven char s", 1), ["eleven char", "s"]);
  assert.deepEqual(wrapped("eleven char \ns", 1), ["eleven char", "s"]);
});

Deno.test("WordWrap counts terminal cells, and breaks Chinese text anywhere", () => {
  const wrap = new WordWrap(() => 12);
  assert.equal(wrap.push("从前有一个国王和王后"), "从前有一个\n国王和王后");
  // Each of the five accented letters takes one cell, although it is written as two characters.
  assert.equal(new WordWrap(() => 12).push("hello e\u0301e\u0301e\u0301e\u0301e\u0301").length, 16);
});

Deno.test("WordWrap follows the terminal's width", () => {
  let columns = 80;
  const wrap = new WordWrap(() => columns);
  assert.equal(wrap.push("one two "), "one two ");
  columns = 10;
  assert.equal(wrap.push("three"), "\nthree");
});
