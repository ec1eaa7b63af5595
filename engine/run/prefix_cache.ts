/** Which full blocks of the KV cache hold which tokens, so that equal prefixes are computed once. */

import { BLOCK_TOKENS } from "./runner.ts";

/** A full block that requests may share. */
export interface CachedBlock {
  /** Stands for this block's tokens and all before them; never given twice. */
  readonly id: number;
  readonly key: string;
  /** The physical block. */
  readonly block: number;
  /** A second request has used it. */
  shared: boolean;
}

/** Counts since the start. Requests that resume after a preemption are left out. */
export interface PrefixStats {
  /** Full blocks of prompts that were found, and that were not. */
  hits: number;
  misses: number;
  /** Requests that began after a cached prefix. */
  prefixHits: number;
  /** Prompt tokens that did not have to be computed. */
  tokensSaved: number;
  /** Blocks that served more than the request that computed them. */
  blocksShared: number;
}

/**
 * A trie of blocks in one map: a block's key is its parent's id and its own tokens. The map hashes
 * the key and compares it whole, so a collision costs time, never a wrong hit.
 */
export class PrefixCache {
  readonly stats: PrefixStats = {
    hits: 0,
    misses: 0,
    prefixHits: 0,
    tokensSaved: 0,
    blocksShared: 0,
  };
  readonly #byKey = new Map<string, CachedBlock>();
  readonly #byBlock = new Map<number, CachedBlock>();
  #lastId = 0;

  /** `enabled` false: finds nothing and takes nothing. */
  constructor(readonly enabled: boolean) {}

  get size(): number {
    return this.#byBlock.size;
  }

  has(block: number): boolean {
    return this.#byBlock.has(block);
  }

  /** The longest run of full blocks, from the first token on, that are cached. */
  match(tokens: readonly number[]): CachedBlock[] {
    const found: CachedBlock[] = [];
    const full = this.enabled ? Math.floor(tokens.length / BLOCK_TOKENS) : 0;
    while (found.length < full) {
      const entry = this.#byKey.get(keyOf(found.at(-1), tokens, found.length));
      if (!entry) break;
      found.push(entry);
    }
    return found;
  }

  /** Counts what a request of `tokens` tokens made of its match. */
  record(tokens: number, found: readonly CachedBlock[], tokensSaved: number): void {
    if (!this.enabled) return;
    this.stats.hits += found.length;
    this.stats.misses += Math.floor(tokens / BLOCK_TOKENS) - found.length;
    this.stats.tokensSaved += tokensSaved;
    if (tokensSaved > 0) this.stats.prefixHits++;
    for (const entry of found) {
      if (!entry.shared) this.stats.blocksShared++;
      entry.shared = true;
    }
  }

  /**
   * Makes `block`, which holds the `index`-th full block of `tokens` and follows `parent`, findable.
   * Returns what stands for the prefix from now on: where another block has the same tokens
   * already, that one.
   */
  add(
    parent: CachedBlock | undefined,
    tokens: readonly number[],
    index: number,
    block: number,
  ): CachedBlock | undefined {
    // Nothing can be found behind a parent that was evicted.
    if (!this.enabled || (parent && this.#byBlock.get(parent.block) !== parent)) return parent;
    const key = keyOf(parent, tokens, index);
    let entry = this.#byKey.get(key);
    if (!entry) {
      entry = { id: ++this.#lastId, key, block, shared: false };
      this.#byKey.set(key, entry);
      this.#byBlock.set(block, entry);
    }
    return entry;
  }

  /** Forgets a block, before it is used for something else. */
  remove(block: number): void {
    const entry = this.#byBlock.get(block);
    if (!entry) return;
    this.#byBlock.delete(block);
    this.#byKey.delete(entry.key);
  }
}

function keyOf(parent: CachedBlock | undefined, tokens: readonly number[], index: number): string {
  const start = index * BLOCK_TOKENS;
  return `${parent?.id ?? 0}:${tokens.slice(start, start + BLOCK_TOKENS).join()}`;
}
