/**
 * The blocks of all groups of layers (model/kv_groups.ts): each group has blocks of its own, and the
 * prefix cache finds a prefix in all of them. A group with a window gives back what left it.
 */

import { kvBlocksHeld, type KvGroup } from "../model/kv_groups.ts";
import {
  BlockManager,
  type BlockManagerOptions,
  blocksFor,
  type BlockStats,
} from "./block_manager.ts";
import { type CachedBlock, PrefixCache } from "./prefix_cache.ts";
import { BLOCK_TOKENS } from "./runner.ts";

/** A group's window, and the blocks that it has. */
export type KvGroupOptions = Pick<KvGroup, "window"> & Omit<BlockManagerOptions, "keep">;

/** The tokens of a text, and how many of them enter in a step. */
export interface TextSize {
  readonly tokens: number;
  readonly entering: number;
}

/** A sequence's blocks by group. */
export interface BlockTables {
  /** By group, the block of each BLOCK_TOKENS positions; of those given back, whatever it was. */
  tables: number[][];
  /** By group, how many of its first blocks it has given back. */
  givenBack: number[];
}

export class KvBlocks {
  readonly cache: PrefixCache;
  readonly #groups: readonly BlockManager[];
  readonly #windows: readonly number[];

  /**
   * @param groups the one that keeps the most first
   * @param options.share keep prefixes for later requests
   * @param options.keep blocks of a group to keep that no request uses; default all
   */
  constructor(
    groups: readonly KvGroupOptions[],
    { share, keep }: { readonly share: boolean; readonly keep?: number },
  ) {
    this.#windows = groups.map(({ window = Infinity }) => window);
    this.cache = new PrefixCache(share, this.#windows);
    this.#groups = groups.map((options, group) =>
      new BlockManager(this.cache.group(group), { ...options, ...(keep !== undefined && { keep }) })
    );
  }

  /** Blocks that the group that keeps the most may ever have. */
  get budget(): number {
    return this.#groups[0]!.budget;
  }

  /** What the device is to grow to before blocks that were asked for can be given; see `grown`. */
  get growth(): { group: number; blocks: number } | undefined {
    for (const [group, { growth: blocks }] of this.#groups.entries()) {
      if (blocks !== undefined) return { group, blocks };
    }
    return undefined;
  }

  /** Takes in how many blocks of a group the device has, after it was to grow. */
  grown(group: number, blocks: number): void {
    this.#groups[group]!.grown(blocks);
  }

  /**
   * The first group that may not have all blocks of a sequence of `tokens` tokens that is alone;
   * undefined if all may.
   *
   * @param size.entering most tokens that enter in a step
   */
  lacking(size: TextSize): { needed: number; budget: number } | undefined {
    for (const [group, { budget }] of this.#groups.entries()) {
      const needed = this.#heldAlone(group, size);
      if (needed > budget) return { needed, budget };
    }
    return undefined;
  }

  /** The longest text alone, of up to `tokens` tokens, that every group may have the blocks for. */
  longestAlone({ tokens, entering }: TextSize): number {
    const rooms = this.#groups.map(({ budget }, group) => {
      const needed = this.#heldAlone(group, { tokens, entering });
      return needed > budget ? budget * BLOCK_TOKENS : tokens;
    });
    return Math.min(tokens, ...rooms);
  }

  /** By group, blocks for a text alone; undefined, and none taken, as `allocate`. */
  allocateAlone(size: TextSize): number[][] | undefined {
    return this.allocate(this.#groups.map((_, group) => this.#heldAlone(group, size)));
  }

  #heldAlone(group: number, size: TextSize): number {
    return kvBlocksHeld({ window: this.#windows[group]! }, { ...size, sequences: 1 });
  }

  /** By group. */
  get stats(): BlockStats[] {
    return this.#groups.map((group) => group.stats);
  }

  /** How many table entries hold this block of the group. */
  references(group: number, block: number): number {
    return this.#groups[group]!.references(block);
  }

  /**
   * `counts[g]` blocks of each group, held once each; undefined, and none taken, if too few, or if the
   * device is to grow first.
   */
  allocate(counts: readonly number[]): number[][] | undefined {
    const taken: number[][] = [];
    for (const [group, count] of counts.entries()) {
      const blocks = this.#groups[group]!.allocate(Math.max(0, count));
      if (blocks === undefined) {
        taken.forEach((blocks, group) => this.release(group, blocks));
        return undefined;
      }
      taken.push(blocks);
    }
    return taken;
  }

  /** Appends blocks to the tables for all positions below `end`; false, and nothing changed, if too few. */
  extend({ tables }: BlockTables, end: number): boolean {
    const needed = blocksFor(end);
    const blocks = this.allocate(tables.map((table) => needed - table.length));
    if (blocks === undefined) return false;
    for (const [group, own] of blocks.entries()) tables[group]!.push(...own);
    return true;
  }

  /** The tables of a sequence that begins after these cached blocks, at position `start`. */
  share(found: readonly CachedBlock[], start: number): BlockTables {
    const givenBack = this.#windows.map((window) => firstSeen(start, window));
    const tables = this.#groups.map((manager, group) => {
      const blocks = found.map(({ blocks }) => blocks[group] ?? 0);
      manager.share(blocks.slice(givenBack[group]!));
      return blocks;
    });
    return { tables, givenBack };
  }

  /** Forgets all prefixes that no request uses. */
  clearCache(): void {
    for (const group of this.#groups) group.clear();
  }

  release(group: number, blocks: readonly number[]): void {
    this.#groups[group]!.release(blocks);
  }

  /** Frees every block of a sequence. */
  releaseAll({ tables, givenBack }: BlockTables): void {
    for (const [group, table] of tables.entries()) {
      this.release(group, table.slice(givenBack[group]!));
    }
  }

  /** Gives back what no token from position `next` on sees. */
  releaseUnseen({ tables, givenBack }: BlockTables, next: number): void {
    for (const [group, window] of this.#windows.entries()) {
      const seen = Math.min(firstSeen(next, window), tables[group]!.length);
      if (seen <= givenBack[group]!) continue;
      this.release(group, tables[group]!.slice(givenBack[group]!, seen));
      givenBack[group] = seen;
    }
  }
}

/**
 * Tables for one sequence of `tokens` tokens that has all blocks to itself: a group that has fewer uses
 * them over and over, which is right if it has those of its window (see kvBlocksHeld).
 *
 * @param blocks by group, as in RunnerLimits
 */
export function tablesAlone(blocks: readonly number[], tokens: number): number[][] {
  return tablesOver(blocks.map((own) => Array.from({ length: own }, (_, i) => i)), tokens);
}

/** The same over these blocks alone. */
export function tablesOver(blocks: readonly (readonly number[])[], tokens: number): number[][] {
  return blocks.map((own) =>
    Array.from({ length: blocksFor(tokens) }, (_, i) => own[i % own.length]!)
  );
}

/** The first block of which a token at `position` sees anything. */
function firstSeen(position: number, window: number): number {
  return Math.floor(Math.max(0, position + 1 - window) / BLOCK_TOKENS);
}
