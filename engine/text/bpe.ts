/**
 * Byte-pair encoding on token ids. The library's own merging keys a map by JSON strings: a
 * megabyte without a space took it 5 s and 1 GB, this 0.4 s.
 */

import { quote } from "../files/quote.ts";

/** Ids of two tokens that merge, and of the token they make. */
export type Merge = readonly [left: number, right: number, result: number];

/** Merges in the order of their ranks, three numbers each: an array for each of 300,000 takes 20 MB. */
export type MergeList = Int32Array;

/** Finds the tokens of merges by their spelling. */
export class MergeReader {
  #result = -1;

  /** @param pieces by their ids */
  constructor(
    readonly ids: ReadonlyMap<string, number>,
    readonly pieces: readonly (string | undefined)[],
  ) {}

  /**
   * The merge of two tokens.
   *
   * @throws {RangeError} if one of the two, or what they make, is not a token.
   */
  read(first: string, second: string): Merge {
    const left = this.#idOf(first), right = this.#idOf(second);
    // What merges make mostly comes in their order: comparing costs less than joining and hashing.
    const next = this.pieces[this.#result + 1];
    const isNext = next?.length === first.length + second.length && next.startsWith(first) &&
      next.endsWith(second);
    this.#result = isNext ? this.#result + 1 : this.#idOf(first + second);
    return [left, right, this.#result];
  }

  #idOf(piece: string): number {
    const id = this.ids.get(piece);
    if (id === undefined) throw new RangeError(`${quote(piece)} is not a token`);
    return id;
  }
}

/** Which pairs of tokens merge, in what order and to what: an open-addressing hash table. */
export class MergeTable {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;
  readonly #result: Int32Array;

  /** @param capacity merges that will be added at most */
  constructor(capacity: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * capacity + 2));
    this.#mask = slots - 1;
    this.#left = new Int32Array(slots).fill(-1);
    this.#right = new Int32Array(slots);
    this.#rank = new Int32Array(slots);
    this.#result = new Int32Array(slots);
  }

  /** A table of those merges that make a token which `isWanted`. */
  static inOrder(merges: MergeList, isWanted: (id: number) => boolean): MergeTable {
    const table = new MergeTable(merges.length / 3);
    for (let i = 0; i < merges.length; i += 3) {
      const result = merges[i + 2]!;
      if (isWanted(result)) table.add([merges[i]!, merges[i + 1]!, result], i / 3);
    }
    return table;
  }

  /** Of a pair added twice the first counts. Pairs of lower rank merge first. */
  add([left, right, result]: Merge, rank: number): void {
    const slot = this.#probe(left, right);
    if (this.#left[slot] !== -1) return;
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.#rank[slot] = rank;
    this.#result[slot] = result;
  }

  /** The merge's slot, or -1 where the two do not merge. */
  find(left: number, right: number): number {
    if (left < 0 || right < 0) return -1;
    const slot = this.#probe(left, right);
    return this.#left[slot] === -1 ? -1 : slot;
  }

  rank(slot: number): number {
    return this.#rank[slot]!;
  }

  result(slot: number): number {
    return this.#result[slot]!;
  }

  /** The slot of the pair, or the free one where it would go. */
  #probe(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (
      this.#left[slot] !== -1 && (this.#left[slot] !== left || this.#right[slot] !== right)
    ) slot = (slot + 1) & this.#mask;
    return slot;
  }
}

/** What becomes of text that no token spells. */
export interface BpeOptions {
  /** A word that is a token is that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** The ids of `<0x00>` … `<0xFF>`; absent, a character without a token is left out. */
  readonly byteIds?: readonly number[];
  /** Stands for a character that `byteIds` cannot spell. */
  readonly unknownId?: number;
}

// Longer words hardly recur; this many short ones are some 2 MB.
const CACHED_WORD_LENGTH = 64;
const CACHED_WORDS = 16_384;

// A heap key is rank × POSITIONS + position: both come back exactly, and equal ranks go leftmost first.
const POSITIONS = 2 ** 31;

/** Encodes pre-split words. */
export class BpeModel {
  readonly #cache = new Map<string, readonly number[]>();
  readonly #encoder = new TextEncoder();
  readonly #heap = new MinHeap();

  constructor(
    readonly ids: ReadonlyMap<string, number>,
    readonly merges: MergeTable,
    readonly options: BpeOptions,
  ) {}

  /** Appends the words' ids to `into`. */
  encode(words: readonly string[], into: number[]): void {
    for (const word of words) {
      let ids = this.#cache.get(word);
      if (ids === undefined) {
        ids = this.#encodeWord(word);
        if (word.length <= CACHED_WORD_LENGTH) {
          if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
          this.#cache.set(word, ids);
        }
      }
      for (const id of ids) into.push(id);
    }
  }

  #encodeWord(word: string): number[] {
    const id = this.options.ignoreMerges ? this.ids.get(word) : undefined;
    if (id !== undefined) return [id];
    const characters = Array.from(word);
    const symbols = Int32Array.from(characters, (c) => this.ids.get(c) ?? -1);
    const next = this.#merge(symbols);
    const ids: number[] = [];
    for (let at = 0; at < symbols.length; at = next[at]!) {
      if (symbols[at]! >= 0) ids.push(symbols[at]!);
      else this.#spell(characters[at]!, ids);
    }
    return ids;
  }

  /** Merges `symbols` in place; returns where the symbol after each that is left begins. */
  #merge(symbols: Int32Array): Int32Array {
    const { merges } = this;
    const heap = this.#heap;
    const length = symbols.length;
    const next = new Int32Array(length);
    const previous = new Int32Array(length);
    for (let at = 0; at < length; at++) {
      next[at] = at + 1;
      previous[at] = at - 1;
    }
    // The merge of each symbol with its neighbour; an entry of the heap that disagrees is stale.
    const slots = new Int32Array(length).fill(-1);
    const look = (at: number): void => {
      const right = next[at]!;
      const slot = right < length ? merges.find(symbols[at]!, symbols[right]!) : -1;
      slots[at] = slot;
      if (slot >= 0) heap.push(merges.rank(slot) * POSITIONS + at);
    };
    for (let at = 0; at < length; at++) look(at);
    while (heap.size > 0) {
      const key = heap.pop();
      const at = key % POSITIONS;
      const slot = slots[at]!;
      if (slot < 0 || merges.rank(slot) !== (key - at) / POSITIONS) continue;
      const gone = next[at]!;
      symbols[at] = merges.result(slot);
      slots[gone] = -1;
      next[at] = next[gone]!;
      if (next[at]! < length) previous[next[at]!] = at;
      if (previous[at]! >= 0) look(previous[at]!);
      look(at);
    }
    return next;
  }

  #spell(character: string, into: number[]): void {
    const { byteIds, unknownId } = this.options;
    if (byteIds !== undefined) {
      for (const byte of this.#encoder.encode(character)) into.push(byteIds[byte]!);
    } else if (unknownId !== undefined) into.push(unknownId);
  }
}

/** A binary heap of numbers that is empty again after each use. */
class MinHeap {
  #keys = new Float64Array(64);
  size = 0;

  push(key: number): void {
    if (this.size === this.#keys.length) {
      const larger = new Float64Array(2 * this.size);
      larger.set(this.#keys);
      this.#keys = larger;
    }
    const keys = this.#keys;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[at] = keys[parent]!;
      at = parent;
    }
    keys[at] = key;
  }

  pop(): number {
    const keys = this.#keys;
    const least = keys[0]!;
    const key = keys[--this.size]!;
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      if (child + 1 < this.size && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= key) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = key;
    return least;
  }
}
