import assert from "node:assert/strict";
import { PrefixCache } from "../../engine/run/prefix_cache.ts";

/** Returns the tokens of a block that repeats one token. */
const block = (token: number) => Array<number>(16).fill(token);

/** Caches every full block of `tokens` in the given physical blocks. */
function addAll(cache: PrefixCache, tokens: number[], blocks: number[]): void {
  let parent;
  for (const [i, physical] of blocks.entries()) {
    parent = cache.add(parent, tokens, { index: i, blocks: [physical] });
  }
}

const matched = (cache: PrefixCache, tokens: number[]) =>
  cache.match(tokens).map((e) => e.blocks[0]);

Deno.test("PrefixCache.match() finds the longest run of full blocks from the start", () => {
  const cache = new PrefixCache(true, [Infinity]);
  addAll(cache, [...block(1), ...block(2), ...block(3)], [10, 11, 12]);
  assert.deepEqual(matched(cache, [...block(1), ...block(2), ...block(3)]), [10, 11, 12]);
  assert.deepEqual(matched(cache, [...block(1), ...block(2), ...block(9)]), [10, 11]);
  assert.deepEqual(matched(cache, [...block(1), ...block(2).slice(1)]), [10]);
  // The same tokens after another prefix are another block.
  assert.deepEqual(matched(cache, [...block(2), ...block(3)]), []);
  assert.deepEqual(matched(cache, [...block(1), ...block(3)]), [10]);
  assert.deepEqual(matched(cache, block(1).slice(1)), []);
});

Deno.test("PrefixCache does not confuse the tokens 1,23 with 12,3", () => {
  const cache = new PrefixCache(true, [Infinity]);
  addAll(cache, [1, 23, ...block(0).slice(2)], [5]);
  assert.deepEqual(matched(cache, [12, 3, ...block(0).slice(2)]), []);
});

Deno.test("PrefixCache.add() keeps the first of two equal blocks, and continues from it", () => {
  const cache = new PrefixCache(true, [Infinity]);
  const tokens = [...block(1), ...block(2)];
  addAll(cache, tokens.slice(0, 16), [10]);
  addAll(cache, tokens, [20, 21]);
  assert.deepEqual(matched(cache, tokens), [10, 21]);
  assert.ok(!cache.group(0).has(20));
});

Deno.test("PrefixCache.remove() also removes what follows, and nothing can be added after a removed block", () => {
  const cache = new PrefixCache(true, [Infinity]);
  const tokens = [...block(1), ...block(2)];
  const first = cache.add(undefined, tokens, { index: 0, blocks: [10] });
  cache.group(0).remove(10);
  cache.add(first, tokens, { index: 1, blocks: [11] });
  assert.equal(cache.size, 0);
  // Not even if the block is cached again with the same tokens: it may contain others by then.
  cache.add(undefined, tokens, { index: 0, blocks: [10] });
  cache.add(first, tokens, { index: 1, blocks: [11] });
  assert.deepEqual(matched(cache, tokens), [10]);
});

Deno.test("a disabled PrefixCache finds nothing and counts nothing", () => {
  const cache = new PrefixCache(false, [Infinity]);
  addAll(cache, block(1), [1]);
  cache.record(16, cache.match(block(1)), 0);
  assert.equal(cache.size, 0);
  assert.deepEqual(Object.values(cache.stats), [0, 0, 0, 0, 0]);
});

Deno.test("PrefixCache with a window finds a prefix if its window is cached, even without earlier blocks", () => {
  const cache = new PrefixCache(true, [Infinity, 20]);
  const tokens = [1, 2, 3, 4].flatMap(block);
  let parent;
  for (const index of [0, 1, 2, 3]) {
    const blocks = [10 + index, index === 0 ? undefined : 20 + index];
    parent = cache.add(parent, tokens, { index, blocks });
  }
  const found = (text: number[]) => cache.match(text).map(({ blocks }) => blocks);
  const all = [[10, undefined], [11, 21], [12, 22], [13, 23]];
  assert.deepEqual(found(tokens), all);
  // After two blocks a token sees 19 positions back, into the first block, which is gone.
  assert.deepEqual(found(tokens.slice(0, 40)), []);
  cache.group(1).remove(22);
  assert.ok(!cache.group(1).has(22) && cache.group(0).has(12));
  // The window is incomplete after four blocks, after three, and after two.
  assert.deepEqual(found(tokens), []);
  cache.group(0).remove(10);
  assert.equal(cache.size, 3);
});
