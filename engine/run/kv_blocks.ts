/**
 * The blocks of all groups of layers (model/kv_groups.ts). Each group has its own blocks. The
 * prefix cache covers the blocks of all groups. A group with a window frees the blocks that have
 * left it.
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

/** A group's window and its blocks. */
export type KvGroupOptions = Pick<KvGroup, "window"> & Omit<BlockManagerOptions, "keep">;

/** The number of tokens of a text, and the most that enter in one step. */
export interface TextSize {
  readonly tokens: number;
  readonly entering: number;
}

/** A sequence's blocks, by group. */
export interface BlockTables {
  /** By group, the block of each BLOCK_TOKENS positions. Entries of freed blocks are stale. */
  tables: number[][];
  /** By group, the number of blocks at the start of the table that have been freed. */
  givenBack: number[];
}

export class KvBlocks {
  readonly cache: PrefixCache;
  readonly #groups: readonly BlockManager[];
  readonly #windows: readonly number[];

  /**
   * @param groups the group that keeps the most positions is the first
   * @param options.share whether to keep prefixes for later requests
   * @param options.keep cached blocks that each group keeps while no request uses them; default all
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

  /** Maximum number of blocks of the first group, which keeps the most positions. */
  get budget(): number {
    return this.#groups[0]!.budget;
  }

  /** The group to grow, and its new size, before the last allocation can succeed; see `grown`. */
  get growth(): { group: number; blocks: number } | undefined {
    for (const [group, { growth: blocks }] of this.#groups.entries()) {
      if (blocks !== undefined) return { group, blocks };
    }
    return undefined;
  }

  /** Updates a group's number of blocks after the device tried to grow it. */
  grown(group: number, blocks: number): void {
    this.#groups[group]!.grown(blocks);
  }

  /**
   * Returns the length in tokens, at most `tokens`, of the longest text that fits the budgets of
   * all groups when it runs alone.
   *
   * @param size.entering most tokens that enter in one step
   */
  longestAlone({ tokens, entering }: TextSize): number {
    const rooms = this.#groups.map(({ budget }, group) => {
      const needed = this.#heldAlone(group, { tokens, entering });
      return needed > budget ? budget * BLOCK_TOKENS : tokens;
    });
    return Math.min(tokens, ...rooms);
  }

  /** Allocates the blocks, by group, for a text that runs alone; undefined as in `allocate`. */
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

  /** Returns how many table entries refer to this block of the group. */
  references(group: number, block: number): number {
    return this.#groups[group]!.references(block);
  }

  /**
   * Allocates `counts[g]` blocks of each group g, with one reference each. Returns undefined and
   * allocates nothing if there are too few, or if the device must grow first.
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

  /**
   * Appends blocks to the tables for all positions below `end`. Returns false and changes no table
   * if `allocate` fails.
   */
  extend({ tables }: BlockTables, end: number): boolean {
    const needed = blocksFor(end);
    const blocks = this.allocate(tables.map((table) => needed - table.length));
    if (blocks === undefined) return false;
    for (const [group, own] of blocks.entries()) tables[group]!.push(...own);
    return true;
  }

  /** Returns tables that share these cached blocks, for a sequence that continues at `start`. */
  share(found: readonly CachedBlock[], start: number): BlockTables {
    const givenBack = this.#windows.map((window) => firstSeen(start, window));
    const tables = this.#groups.map((manager, group) => {
      const blocks = found.map(({ blocks }) => blocks[group] ?? 0);
      manager.share(blocks.slice(givenBack[group]!));
      return blocks;
    });
    return { tables, givenBack };
  }

  /** Removes all cached prefixes that no request uses. */
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

  /** Frees the blocks to which no token from position `next` on attends. */
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
 * Returns the tables of one sequence of `tokens` tokens that has all blocks to itself. A group with
 * fewer blocks reuses them cyclically, which is correct if they cover its window (see
 * kvBlocksHeld).
 *
 * @param blocks by group, as in RunnerLimits
 */
export function tablesAlone(blocks: readonly number[], tokens: number): number[][] {
  return tablesOver(blocks.map((own) => Array.from({ length: own }, (_, i) => i)), tokens);
}

/** Like `tablesAlone`, but with only these blocks. */
export function tablesOver(blocks: readonly (readonly number[])[], tokens: number): number[][] {
  return blocks.map((own) =>
    Array.from({ length: blocksFor(tokens) }, (_, i) => own[i % own.length]!)
  );
}

/** Returns the index of the first block to which a token at `position` attends. */
function firstSeen(position: number, window: number): number {
  return Math.floor(Math.max(0, position + 1 - window) / BLOCK_TOKENS);
}
