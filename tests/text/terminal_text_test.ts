import assert from "node:assert/strict";
import { escapeControls } from "../../engine/text/terminal_text.ts";

Deno.test("escapeControls() escapes controls, and keeps text, tabs and line ends", () => {
  assert.equal(escapeControls("naïve\t水 👩‍👩‍👧\n"), "naïve\t水 👩‍👩‍👧\n");
  assert.equal(escapeControls("\x1b]0;title\x07"), "\\x1b]0;title\\x07");
  assert.equal(escapeControls("a\rb\0\b\x7f\x9b31m"), "a\\x0db\\x00\\x08\\u007f\\u009b31m");
  const json = JSON.stringify({ "\x1b": "\x9b \u202e \x7f" });
  assert.deepEqual(JSON.parse(escapeControls(json)), JSON.parse(json));
  assert.equal(escapeControls("a\u202eb\u2066c"), "a\\u202eb\\u2066c");
});

Deno.test("escapeControls() keeps no control except tab and line feed", () => {
  const controls = [...Array(32).keys(), ...Array.from({ length: 33 }, (_, i) => 127 + i)];
  const escaped = escapeControls(String.fromCharCode(...controls));
  // deno-lint-ignore no-control-regex
  assert.deepEqual(escaped.match(/[\x00-\x1f\x7f-\x9f]/g), ["\t", "\n"]);
});
