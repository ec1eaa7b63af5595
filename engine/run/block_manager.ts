/** Who holds which block of the paged KV cache. Knows block numbers, not what is in them. */

import { BLOCK_TOKENS } from "./runner.ts";

/** Blocks that `tokens` tokens take. */
export function blocksFor(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/** Which blocks are cached; PrefixCache has one for each group of layers. */
export interface CachedBlocks {
  has(block: number): boolean;
  /** Forgets a block, before it is used for something else. */
  remove(block: number): void;
}

export interface BlockManagerOptions {
  /** Blocks there are at the start. */
  readonly blocks: number;
  /** Blocks there may ever be; default `blocks`. The device is asked for more where it has fewer. */
  readonly budget?: number;
  /** Cached blocks to keep that no request uses; default all. */
  readonly keep?: number;
}

/** What the blocks of the KV cache are used for. */
export interface BlockStats {
  /** Blocks there are now: used + kept + free. */
  readonly total: number;
  /** Blocks there may be. */
  readonly budget: number;
  /** In the table of at least one request. */
  readonly used: number;
  /** Cached for later requests, evicted when blocks run out. */
  readonly kept: number;
  /** Neither used nor kept. */
  readonly free: number;
  /** Blocks handed out since the start, sharing left out. */
  readonly allocations: number;
  /** Blocks taken from the cache since the start. */
  readonly evictions: number;
}

/**
 * The blocks of one group of layers. Every block is free, used (by one or more requests, counted) or
 * kept (cached, unused, evictable). New blocks come from the free ones, then from growth, for which
 * whoever has the device asks it (`growth`), then from the least recently used kept one.
 */
export class BlockManager {
  readonly #references: number[] = [];
  readonly #free: number[] = [];
  /** In order of last use: a Set iterates in the order of insertion. */
  readonly #kept = new Set<number>();
  readonly #keep: number;
  #budget: number;
  #growth: number | undefined;
  #allocations = 0;
  #evictions = 0;

  constructor(readonly cache: CachedBlocks, options: BlockManagerOptions) {
    this.#budget = Math.floor(options.budget ?? options.blocks);
    this.#keep = options.keep ?? Infinity;
    for (let block = 0; block < Math.min(options.blocks, this.#budget); block++) this.#addBlock();
  }

  get budget(): number {
    return this.#budget;
  }

  /** How many blocks in all the device is to make room for, for want of which none were given. */
  get growth(): number | undefined {
    return this.#growth;
  }

  /** Takes in how many blocks the device has now: fewer than it was to, and it cannot have more. */
  grown(blocks: number): void {
    const wanted = this.#growth ?? this.#budget, total = this.#references.length;
    if (blocks < wanted) this.#budget = Math.max(total, blocks);
    for (let block = total; block < Math.min(wanted, blocks); block++) this.#addBlock();
    this.#growth = undefined;
  }

  get stats(): BlockStats {
    const total = this.#references.length, kept = this.#kept.size, free = this.#free.length;
    const counts = { allocations: this.#allocations, evictions: this.#evictions };
    return { total, budget: this.#budget, used: total - kept - free, kept, free, ...counts };
  }

  /** How many table entries hold this block. */
  references(block: number): number {
    return this.#references[block] ?? 0;
  }

  /**
   * `count` blocks, held once each; undefined, and nothing changed for the holders, if too few, or if
   * the device is to grow first.
   */
  allocate(count: number): number[] | undefined {
    const total = this.#references.length;
    const room = this.#free.length + this.#kept.size + this.#budget - total;
    if (room < count) return undefined;
    const lacking = count - this.#free.length;
    if (lacking > 0 && total < this.#budget) {
      // At least twice as many: growing copies the cache on the device, so it should be rare.
      this.#growth = Math.min(this.#budget, Math.max(2 * total, total + lacking));
      return undefined;
    }
    while (this.#free.length < count) this.#evict();
    const blocks: number[] = [];
    for (let i = 0; i < count; i++) blocks.push(this.#free.pop()!);
    for (const block of blocks) this.#references[block] = 1;
    this.#allocations += count;
    return blocks;
  }

  /** Holds cached blocks once more. */
  share(blocks: readonly number[]): void {
    for (const block of blocks) {
      this.#references[block]!++;
      this.#kept.delete(block);
    }
  }

  /**
   * Lets go of blocks. Those that nobody else holds become kept or free: the last first, so that
   * the tail of a prefix is evicted before its head, without which it cannot be found.
   */
  release(blocks: readonly number[]): void {
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!;
      if (--this.#references[block]! > 0) continue;
      if (this.cache.has(block)) this.#kept.add(block);
      else this.#free.push(block);
    }
    while (this.#kept.size > this.#keep) this.#evict();
  }

  /** Frees all blocks that are kept. */
  clear(): void {
    while (this.#evict());
  }

  #evict(): boolean {
    const { value: block } = this.#kept.values().next();
    if (block === undefined) return false;
    this.#kept.delete(block);
    this.cache.remove(block);
    this.#free.push(block);
    this.#evictions++;
    return true;
  }

  #addBlock(): void {
    this.#free.push(this.#references.push(0) - 1);
  }
}
