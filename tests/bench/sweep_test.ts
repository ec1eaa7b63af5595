import assert from "node:assert/strict";
import { RequestError } from "../../engine/errors.ts";
import { parseSweep } from "../../bench/harness/sweep.ts";

const parse = (text: string) => parseSweep(text, { least: 0, most: 4096 });

Deno.test("parseSweep() accepts lists, ranges, steps and factors, in the given order", () => {
  assert.deepEqual(parse("512"), [512]);
  assert.deepEqual(parse("512,0, 128"), [512, 0, 128]);
  assert.deepEqual(parse("1-4"), [1, 2, 3, 4]);
  assert.deepEqual(parse("128-512+128"), [128, 256, 384, 512]);
  assert.deepEqual(parse("100-250+100,100"), [100, 200]);
  assert.deepEqual(parse("256-4096*2"), [256, 512, 1024, 2048, 4096]);
});

Deno.test("parseSweep() refuses text that is no list, beyond the bounds, or endless", () => {
  for (
    const text of ["", ",", "x", "-1", "4-1", "4097", "1-4097", "1-9+0", "1-9*1", "0-9*2", "1-4*"]
  ) {
    assert.throws(() => parse(text), RequestError, text);
  }
  assert.throws(() => parse("0-4000"), /at most 256 numbers/);
});
