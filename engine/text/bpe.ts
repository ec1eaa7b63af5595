/**
 * Byte-pair encoding on token ids. `@huggingface/tokenizers` uses JSON strings as map keys to
 * merge: a megabyte without a space took it 5 s and 1 GB of memory. This implementation takes 0.4
 * s.
 */

import { quote } from "../files/quote.ts";

/** Ids of two tokens that merge, and of the resulting token. */
export type Merge = readonly [left: number, right: number, result: number];

/**
 * Merges in the order of their ranks, three numbers each. Separate arrays would take 20 MB for
 * 300,000 merges.
 */
export type MergeList = Int32Array;

/** Converts merges of spellings to merges of ids. */
export class MergeReader {
  #result = -1;

  /** @param pieces spellings of tokens by id */
  constructor(
    readonly ids: ReadonlyMap<string, number>,
    readonly pieces: readonly (string | undefined)[],
  ) {}

  /**
   * Returns the merge of two tokens.
   *
   * @throws {RangeError} if one of the two, or both joined, is not a token.
   */
  read(first: string, second: string): Merge {
    const left = this.#idOf(first), right = this.#idOf(second);
    // Results of consecutive merges mostly have consecutive ids. Comparing with the next id is
    // cheaper than joining and hashing the strings.
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

/** Maps pairs of tokens that merge to the rank and the result: an open-addressing hash table. */
export class MergeTable {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;
  readonly #result: Int32Array;

  /** @param capacity the most merges that will be added */
  constructor(capacity: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * capacity + 2));
    this.#mask = slots - 1;
    this.#left = new Int32Array(slots).fill(-1);
    this.#right = new Int32Array(slots);
    this.#rank = new Int32Array(slots);
    this.#result = new Int32Array(slots);
  }

  /** Returns a table of the merges whose result satisfies `isWanted`. */
  static inOrder(merges: MergeList, isWanted: (id: number) => boolean): MergeTable {
    const table = new MergeTable(merges.length / 3);
    for (let i = 0; i < merges.length; i += 3) {
      const result = merges[i + 2]!;
      if (isWanted(result)) table.add([merges[i]!, merges[i + 1]!, result], i / 3);
    }
    return table;
  }

  /** Adds a merge, unless its pair is already in the table. Pairs of lower rank merge first. */
  add([left, right, result]: Merge, rank: number): void {
    const slot = this.#probe(left, right);
    if (this.#left[slot] !== -1) return;
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.#rank[slot] = rank;
    this.#result[slot] = result;
  }

  /** Returns the slot of the pair's merge, or -1 if the two do not merge. */
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

  /** Returns the slot of the pair, or the free slot where it would be stored. */
  #probe(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (
      this.#left[slot] !== -1 && (this.#left[slot] !== left || this.#right[slot] !== right)
    ) slot = (slot + 1) & this.#mask;
    return slot;
  }
}

/** How words, and characters without a token, are encoded. */
export interface BpeOptions {
  /** Whether a word that is itself a token is encoded as that token, without merging. */
  readonly ignoreMerges: boolean;
  /** The ids of `<0x00>` … `<0xFF>`, which encode the bytes of a character without a token. */
  readonly byteIds?: readonly number[];
  /**
   * Encodes a character without a token if there are no `byteIds`. Without either, the character is
   * left out.
   */
  readonly unknownId?: number;
}

// Longer words hardly recur. This many short ones take about 2 MB.
const CACHED_WORD_LENGTH = 64;
const CACHED_WORDS = 16_384;

// A heap key is rank × POSITIONS + position. Both can be recovered exactly, and of equal ranks the
// leftmost pair comes first.
const POSITIONS = 2 ** 31;

/** Encodes words that the pre-tokenizer has split. */
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

  /** Merges `symbols` in place. Returns for each remaining symbol the position of the next one. */
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
    // Slot of the merge of each symbol with its right neighbour. Heap entries with a different
    // merge are stale.
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

/** A binary heap of numbers, which every use leaves empty. */
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
