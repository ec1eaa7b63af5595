import assert from "node:assert/strict";
import {
  BlockManager,
  type BlockManagerOptions,
  blocksFor,
} from "../../engine/run/block_manager.ts";
import { PrefixCache } from "../../engine/run/prefix_cache.ts";

function make(options: BlockManagerOptions) {
  const prefixes = new PrefixCache(true, [Infinity]);
  const cache = prefixes.group(0);
  return { prefixes, cache, manager: new BlockManager(cache, options) };
}

/** Allocates blocks, caches each as a separate prefix, and releases them one after the other. */
function keep(manager: BlockManager, cache: PrefixCache, count: number): number[] {
  const blocks = manager.allocate(count)!;
  for (const block of blocks) {
    cache.add(undefined, Array<number>(16).fill(block), { index: 0, blocks: [block] });
  }
  for (const block of blocks) manager.release([block]);
  return blocks;
}

Deno.test("blocksFor() rounds up to blocks of 16", () => {
  assert.deepEqual([0, 1, 16, 17, 32].map(blocksFor), [0, 1, 1, 2, 2]);
});

Deno.test("BlockManager.allocate() returns every block once, and all or none of a request", () => {
  const { manager } = make({ blocks: 5 });
  const blocks = [...manager.allocate(3)!, ...manager.allocate(2)!];
  assert.deepEqual(blocks.toSorted(), [0, 1, 2, 3, 4]);
  assert.equal(manager.allocate(1), undefined);
  manager.release(blocks.slice(0, 2));
  assert.equal(manager.allocate(3), undefined);
  assert.deepEqual(manager.allocate(2)!.toSorted(), blocks.slice(0, 2).toSorted());
});

Deno.test("BlockManager frees a block when its last holder releases it", () => {
  const { manager } = make({ blocks: 1 });
  const [block] = manager.allocate(1)!;
  manager.share([block!]);
  assert.equal(manager.references(block!), 2);
  manager.release([block!]);
  assert.equal(manager.stats.used, 1);
  manager.release([block!]);
  assert.deepEqual({ used: manager.stats.used, free: manager.stats.free }, { used: 0, free: 1 });
});

Deno.test("BlockManager evicts the least recently used kept block, never a block in use", () => {
  const { manager, cache, prefixes } = make({ blocks: 4 });
  const [a, b, c, d] = keep(manager, prefixes, 4) as [number, number, number, number];
  manager.share([b]); // in use
  manager.share([a]);
  manager.release([a]); // used last
  assert.deepEqual(manager.allocate(3), [c, d, a].toReversed());
  assert.ok(!cache.has(a) && cache.has(b));
  assert.equal(manager.allocate(1), undefined);
  assert.equal(manager.stats.evictions, 3);
});

Deno.test("BlockManager evicts the tail of a prefix before its head", () => {
  const { manager, prefixes } = make({ blocks: 3 });
  const tokens = Array.from({ length: 48 }, (_, i) => i);
  const blocks = manager.allocate(3)!;
  let parent;
  for (const [i, block] of blocks.entries()) {
    parent = prefixes.add(parent, tokens, { index: i, blocks: [block] });
  }
  manager.release(blocks);
  manager.allocate(1);
  assert.deepEqual(prefixes.match(tokens).map((entry) => entry.blocks[0]), blocks.slice(0, 2));
});

Deno.test("BlockManager keeps at most `keep` unused blocks", () => {
  const { manager, cache, prefixes } = make({ blocks: 6, keep: 2 });
  const blocks = keep(manager, prefixes, 5);
  assert.deepEqual(blocks.filter((block) => cache.has(block)), blocks.slice(3));
  const { used, kept, free } = manager.stats;
  assert.deepEqual({ used, kept, free }, { used: 0, kept: 2, free: 4 });
});

Deno.test("BlockManager doubles before it evicts, up to the budget", () => {
  const { manager, prefixes } = make({ blocks: 2, budget: 7 });
  keep(manager, prefixes, 2);
  assert.equal(manager.allocate(1), undefined);
  assert.equal(manager.growth, 4);
  manager.grown(4);
  const blocks = manager.allocate(2)!;
  assert.equal(manager.allocate(3), undefined);
  assert.equal(manager.growth, 7);
  manager.grown(107);
  assert.equal(manager.growth, undefined);
  blocks.push(...manager.allocate(3)!);
  assert.equal(manager.stats.kept, 2);
  assert.equal(manager.allocate(3), undefined);
  blocks.push(...manager.allocate(2)!);
  assert.deepEqual(blocks.toSorted(), [0, 1, 2, 3, 4, 5, 6]);
  assert.equal(manager.growth, undefined);
});

Deno.test("BlockManager lowers its budget when growth is refused", () => {
  const { manager } = make({ blocks: 2, budget: 8 });
  assert.equal(manager.allocate(5), undefined);
  assert.equal(manager.growth, 5);
  manager.grown(3);
  assert.equal(manager.budget, 3);
  assert.equal(manager.allocate(5), undefined);
  assert.equal(manager.growth, undefined);
  assert.equal(manager.allocate(3)!.length, 3);
});
