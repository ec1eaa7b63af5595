/** Which full blocks of the KV cache hold which tokens, so that equal prefixes are computed once. */

import type { CachedBlocks } from "./block_manager.ts";
import { BLOCK_TOKENS } from "./runner.ts";

/** A full block that requests may share. */
export interface CachedBlock {
  /** Stands for this block's tokens and all before them; never given twice. */
  readonly id: number;
  readonly key: string;
  /** The physical block in each group of layers; undefined where a window's was used otherwise. */
  readonly blocks: (number | undefined)[];
  /** A second request has used it. */
  shared: boolean;
}

/** Counts since the start. Requests that resume after a preemption are left out. */
export interface PrefixStats {
  /** Full blocks of prompts that were found. */
  hits: number;
  /** Full blocks of prompts that were not. */
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
  /** By group of layers. */
  readonly #byBlock: readonly Map<number, CachedBlock>[];
  #lastId = 0;

  /**
   * @param enabled false: finds nothing and takes nothing
   * @param windows positions that tokens of each group see; the first group's blocks decide what is
   * cached
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
   * The longest run of full blocks, from the first token on, after which a sequence can go on: cached,
   * and with all that is within a window in its group.
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

  // Whether the last token of these blocks, and all after it, find what they see.
  #reaches(found: readonly CachedBlock[]): boolean {
    return this.windows.every((window, group) => {
      const first = Math.floor(Math.max(0, found.length * BLOCK_TOKENS - window) / BLOCK_TOKENS);
      return found.slice(first).every(({ blocks }) => blocks[group] !== undefined);
    });
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
   * Makes blocks findable that hold the `index`-th full block of `tokens` after `parent`, one in each
   * group. Returns what stands for the prefix from now on: where other blocks have the same tokens
   * already, those.
   *
   * @param place.blocks undefined where a group has given its block back
   */
  add(
    parent: CachedBlock | undefined,
    tokens: readonly number[],
    { index, blocks }: { readonly index: number; readonly blocks: readonly (number | undefined)[] },
  ): CachedBlock | undefined {
    // Nothing can be found behind a parent that was evicted.
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
