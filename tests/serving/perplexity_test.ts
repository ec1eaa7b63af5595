import assert from "node:assert/strict";
import { scoringWindow } from "../../engine/run/perplexity.ts";
import { FakeRunner } from "./fake_runner.ts";

Deno.test("scoringWindow() is the text, the context, or what the cache has room for and can grow to", () => {
  const fixed = (contextLength: number) => new FakeRunner({ blocks: 4 }, contextLength);
  assert.equal(scoringWindow(fixed(100), 50, 4), 50);
  assert.equal(scoringWindow(fixed(30), 500, 4), 30);
  assert.equal(scoringWindow(fixed(100), 500, 4), 64);
  assert.equal(scoringWindow(fixed(100), 500, 3), 48);
  const asked: number[][] = [];
  const growing = (contextLength: number, windows: number[] = []) =>
    Object.assign(new FakeRunner({ blocks: 4, maxBatchTokens: 16 }, contextLength, windows), {
      growBlocks: (group: number, blocks: number) => {
        asked.push([group, blocks]);
        return Math.min(blocks, 6);
      },
    });
  assert.equal(scoringWindow(growing(100), 64, 9), 64);
  assert.equal(scoringWindow(growing(70), 500, 9), 70);
  assert.equal(scoringWindow(growing(200), 500, 9), 96);
  assert.deepEqual(asked.splice(0), [[0, 5], [0, 9]]);
  // A window of 20 needs four blocks besides the one that enters, whatever the length.
  assert.equal(scoringWindow(growing(96, [20]), 500, 9), 96);
  assert.deepEqual(asked, [[0, 6], [1, 5]]);
});
