import assert from "node:assert/strict";
import fc from "fast-check";
import { RequestError } from "../../engine/errors.ts";
import { StopStrings } from "../../engine/text/stop_strings.ts";

/** Returns the text before a stop string, and whether there was one. */
function run(stops: readonly string[], pieces: readonly string[]): [string, boolean] {
  const matcher = new StopStrings(stops);
  let text = "";
  for (const piece of pieces) {
    const result = matcher.push(piece);
    text += result.text;
    if (result.stopped) return [text, true];
  }
  return [text + matcher.flush(), false];
}

Deno.test("StopStrings.push() finds a stop string across pieces", () => {
  assert.deepEqual(run(["\n\nUser:"], ["Hi.\n", "\nUs", "er: more"]), ["Hi.", true]);
  assert.deepEqual(run(["stop"], ["non", "stop"]), ["non", true]);
  assert.deepEqual(run(["aab"], ["a", "a", "a", "b"]), ["a", true]);
});

Deno.test("StopStrings.push() holds back only what may begin a stop string", () => {
  const matcher = new StopStrings(["</end>"]);
  assert.deepEqual(matcher.push("a < b </"), { text: "a < b ", stopped: false });
  assert.deepEqual(matcher.push("b> <"), { text: "</b> ", stopped: false });
  assert.equal(matcher.flush(), "<");
  assert.equal(matcher.flush(), "");
});

Deno.test("StopStrings.push() stops at the stop string that is complete first", () => {
  assert.deepEqual(run(["abcd", "bc"], ["xabcd"]), ["xa", true]);
  assert.deepEqual(run(["c", "abc"], ["xabc"]), ["x", true]);
});

Deno.test("StopStrings returns all text if there are no stop strings", () => {
  assert.deepEqual(run([], ["a", "", "b"]), ["ab", false]);
});

Deno.test("new StopStrings() refuses an empty string, and what is no list of strings", () => {
  for (const stops of [["a", ""], ["a", 5], 5, {}]) {
    assert.throws(() => new StopStrings(stops as string[]), RequestError);
  }
});

Deno.test("StopStrings gives the same result however a text is cut into pieces", () => {
  const word = (size: { minLength?: number; maxLength: number }) =>
    fc.string({ unit: fc.constantFrom("a", "b", "é"), ...size });
  fc.assert(
    fc.property(
      fc.array(word({ minLength: 1, maxLength: 4 }), { maxLength: 3 }),
      fc.array(word({ maxLength: 5 }), { maxLength: 8 }),
      (stops, pieces) => {
        const whole = pieces.join("");
        const [text, stopped] = run(stops, pieces);
        assert.deepEqual(run(stops, [whole]), [text, stopped]);
        assert.deepEqual(run(stops, whole.split("")), [text, stopped]);
        assert.equal(stopped, stops.some((stop) => whole.includes(stop)));
        assert.ok(whole.startsWith(text));
        if (!stopped) assert.equal(text, whole);
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});
