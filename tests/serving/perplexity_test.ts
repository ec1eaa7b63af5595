import assert from "node:assert/strict";
import { scoringWindow } from "../../engine/run/perplexity.ts";
import { FakeRunner } from "./fake_runner.ts";

Deno.test("scoringWindow() is the text, the context, or what the cache has room for and can grow to", () => {
  const fixed = new FakeRunner({ blocks: 4 });
  assert.equal(scoringWindow(fixed, 50, 100, 4), 50);
  assert.equal(scoringWindow(fixed, 500, 30, 4), 30);
  assert.equal(scoringWindow(fixed, 500, 100, 4), 64);
  assert.equal(scoringWindow(fixed, 500, 100, 3), 48);
  const asked: number[] = [];
  const growing = Object.assign(new FakeRunner({ blocks: 4 }), {
    growBlocks: (blocks: number) => (asked.push(blocks), Math.min(blocks, 6)),
  });
  assert.equal(scoringWindow(growing, 64, 100, 9), 64);
  assert.equal(scoringWindow(growing, 500, 70, 9), 70);
  assert.equal(scoringWindow(growing, 500, 200, 9), 96);
  assert.deepEqual(asked, [5, 9]);
});
