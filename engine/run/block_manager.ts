/** Allocates the blocks of the paged KV cache. It handles block numbers, not their contents. */

import { BLOCK_TOKENS } from "./runner.ts";

/** Returns the number of blocks for `tokens` tokens. */
export function blocksFor(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/** The cached blocks of one group of layers; see `PrefixCache.group`. */
export interface CachedBlocks {
  has(block: number): boolean;
  /** Removes a block from the cache before it is reused. */
  remove(block: number): void;
}

export interface BlockManagerOptions {
  /** Number of blocks at the start. */
  readonly blocks: number;
  /** Number of blocks to which the device may be asked to grow the cache; default `blocks`. */
  readonly budget?: number;
  /** Maximum number of cached blocks to keep that no request uses; default all. */
  readonly keep?: number;
}

/** How the blocks of the KV cache are used. */
export interface BlockStats {
  /** Current number of blocks: used + kept + free. */
  readonly total: number;
  /** Maximum number of blocks. */
  readonly budget: number;
  /** Blocks in the table of at least one request. */
  readonly used: number;
  /** Blocks cached for later requests; they are evicted when blocks run out. */
  readonly kept: number;
  /** Blocks that are neither used nor kept. */
  readonly free: number;
  /** Blocks allocated since the start, without shared ones. */
  readonly allocations: number;
  /** Blocks evicted from the cache since the start. */
  readonly evictions: number;
}

/**
 * The blocks of one group of layers. Every block is free, used (by one or more requests; references
 * are counted) or kept (cached, unused, evictable). `allocate` takes free blocks first. Then it
 * asks the owner of the device to grow the cache (`growth`). If the cache cannot grow, it evicts
 * the least recently used kept blocks.
 */
export class BlockManager {
  readonly #references: number[] = [];
  readonly #free: number[] = [];
  /** In the order of last use, because a Set iterates in the order of insertion. */
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

  /** Total number of blocks that the device must have before the last allocation can succeed. */
  get growth(): number | undefined {
    return this.#growth;
  }

  /** Updates the number of blocks. Fewer than `growth` means that the device cannot have more. */
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

  /** Returns how many table entries refer to this block. */
  references(block: number): number {
    return this.#references[block] ?? 0;
  }

  /**
   * Allocates `count` blocks with one reference each. Returns undefined and allocates nothing if
   * there are too few, or if the device must grow first (see `growth`).
   */
  allocate(count: number): number[] | undefined {
    const total = this.#references.length;
    const room = this.#free.length + this.#kept.size + this.#budget - total;
    if (room < count) return undefined;
    const lacking = count - this.#free.length;
    if (lacking > 0 && total < this.#budget) {
      // Double the blocks, if not more: growing copies the cache on the device, so it should be
      // rare.
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

  /** Adds a reference to each of these cached blocks. */
  share(blocks: readonly number[]): void {
    for (const block of blocks) {
      this.#references[block]!++;
      this.#kept.delete(block);
    }
  }

  /**
   * Removes a reference to each of these blocks. A block without references becomes kept if it is
   * cached, else free. The last block is released first: the tail of a prefix is then evicted
   * before its head, without which the tail cannot be found.
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

  /** Evicts all kept blocks. */
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
