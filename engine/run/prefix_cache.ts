/** Finds full blocks of the KV cache by their tokens, so that equal prefixes are computed once. */

import type { CachedBlocks } from "./block_manager.ts";
import { BLOCK_TOKENS } from "./runner.ts";

/** A full block that requests may share. */
export interface CachedBlock {
  /** Identifies this block's tokens together with all tokens before them; never reused. */
  readonly id: number;
  readonly key: string;
  /** The physical block in each group of layers; undefined if a windowed group no longer has it. */
  readonly blocks: (number | undefined)[];
  /** A second request has used this block. */
  shared: boolean;
}

/** Totals since the start. Requests that resume after a preemption do not count. */
export interface PrefixStats {
  /** Full blocks of prompts that were found in the cache. */
  hits: number;
  /** Full blocks of prompts that were not found. */
  misses: number;
  /** Requests that started with a cached prefix. */
  prefixHits: number;
  /** Prompt tokens that did not have to be computed. */
  tokensSaved: number;
  /** Blocks that were also used by requests other than the one that computed them. */
  blocksShared: number;
}

/**
 * A trie of blocks in one map: a block's key consists of its parent's id and its own tokens. The
 * map hashes the key but compares it in full, so a hash collision costs time and never causes a
 * wrong hit.
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
  /** By group of layers. */
  readonly #byBlock: readonly Map<number, CachedBlock>[];
  #lastId = 0;

  /**
   * @param enabled if false, nothing is stored or found
   * @param windows number of positions to which a token attends, by group; an entry is removed when
   * the first group loses its block
   */
  constructor(readonly enabled: boolean, readonly windows: readonly number[]) {
    this.#byBlock = windows.map(() => new Map<number, CachedBlock>());
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The cached blocks of one group. */
  group(group: number): CachedBlocks {
    const byBlock = this.#byBlock[group]!;
    return {
      has: (block) => byBlock.has(block),
      remove: (block) => {
        const entry = byBlock.get(block);
        if (entry === undefined) return;
        byBlock.delete(block);
        if (group > 0) entry.blocks[group] = undefined;
        else this.#remove(entry);
      },
    };
  }

  /**
   * Returns the longest run of cached full blocks from the first token on after which a sequence
   * can continue: every group still has the blocks within its window.
   */
  match(tokens: readonly number[]): CachedBlock[] {
    const found: CachedBlock[] = [];
    const full = this.enabled ? Math.floor(tokens.length / BLOCK_TOKENS) : 0;
    while (found.length < full) {
      const entry = this.#byKey.get(keyOf(found.at(-1), tokens, found.length));
      if (!entry) break;
      found.push(entry);
    }
    while (!this.#reaches(found)) found.pop();
    return found;
  }

  // Whether every group has all blocks to which the last of these tokens, or a later one, attends.
  #reaches(found: readonly CachedBlock[]): boolean {
    return this.windows.every((window, group) => {
      const first = Math.floor(Math.max(0, found.length * BLOCK_TOKENS - window) / BLOCK_TOKENS);
      return found.slice(first).every(({ blocks }) => blocks[group] !== undefined);
    });
  }

  /** Updates the statistics for a request of `tokens` tokens that matched `found`. */
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
   * Adds the `index`-th full block of `tokens`, which follows `parent`, with its physical block in
   * each group. Returns the entry of the prefix from now on. If other blocks already contain the
   * same tokens, that is their entry.
   *
   * @param place.blocks by group; undefined if a group has freed its block
   */
  add(
    parent: CachedBlock | undefined,
    tokens: readonly number[],
    { index, blocks }: { readonly index: number; readonly blocks: readonly (number | undefined)[] },
  ): CachedBlock | undefined {
    // Entries after an evicted parent can never be found.
    if (!this.enabled || (parent && this.#byKey.get(parent.key) !== parent)) return parent;
    const key = keyOf(parent, tokens, index);
    const before = this.#byKey.get(key);
    if (before || blocks[0] === undefined) return before ?? parent;
    const entry = { id: ++this.#lastId, key, blocks: [...blocks], shared: false };
    this.#byKey.set(key, entry);
    for (const [group, block] of blocks.entries()) {
      if (block !== undefined) this.#byBlock[group]!.set(block, entry);
    }
    return entry;
  }

  #remove(entry: CachedBlock): void {
    this.#byKey.delete(entry.key);
    for (const [group, block] of entry.blocks.entries()) {
      if (block !== undefined) this.#byBlock[group]!.delete(block);
    }
  }
}

function keyOf(parent: CachedBlock | undefined, tokens: readonly number[], index: number): string {
  const start = index * BLOCK_TOKENS;
  return `${parent?.id ?? 0}:${tokens.slice(start, start + BLOCK_TOKENS).join()}`;
}
