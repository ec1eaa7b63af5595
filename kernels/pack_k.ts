/**
 * Packs the formats with superblocks: each superblock of 256 weights becomes eight units of 32
 * weights. Each unit has its own low nibbles or bit pairs, and its own high bits, so that kernels
 * read all formats the same way. Source of the file layouts: ggml-common.h and ggml-quants.c of
 * ggml; of the device layouts: quant/*.wgsl.
 */

import { halfAt, wordAt } from "./halves.ts";
import type { RowCursor } from "./row_cursor.ts";
import type { TensorType } from "./tensor_types.ts";

/** Packs the superblock at the cursor, without moving the cursor. */
export type PackSuperblock = (cursor: RowCursor) => void;

const NIBBLES = 0x0f0f0f0f;
const PAIRS = 0x03030303;
const BITS = 0x01010101;

/**
 * Distributes bit pairs to four units. Each byte of the four words that start `offset` halves after
 * the cursor contains one pair per unit, that of the first unit in the lowest bits. Writes one word
 * per unit, to word `at` of the first unit and the same word of the next three. Byte c of a written
 * word contains the unit's pairs from byte c of the four words.
 */
function spreadPairs({ from, half, quants, stride }: RowCursor, offset: number, at: number): void {
  let i = half + offset;
  let a = 0, b = 0, c = 0, d = 0;
  for (let shift = 0; shift < 8; shift += 2, i += 2) {
    const word = wordAt(from, i);
    a |= (word & PAIRS) << shift;
    b |= (word >>> 2 & PAIRS) << shift;
    c |= (word >>> 4 & PAIRS) << shift;
    d |= (word >>> 6 & PAIRS) << shift;
  }
  quants[at] = a;
  quants[at + stride] = b;
  quants[at + 2 * stride] = c;
  quants[at + 3 * stride] = d;
}

/** Like `spreadPairs`, but for eight units: each byte of eight words contains one bit per unit. */
function spreadBits({ from, half, quants, stride }: RowCursor, offset: number, at: number): void {
  const i = half + offset;
  for (let unit = 0; unit < 8; unit += 4, at += 4 * stride) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let shift = 0; shift < 8; shift++) {
      const word = wordAt(from, i + 2 * shift) >>> unit;
      a |= (word & BITS) << shift;
      b |= (word >>> 1 & BITS) << shift;
      c |= (word >>> 2 & BITS) << shift;
      d |= (word >>> 3 & BITS) << shift;
    }
    quants[at] = a;
    quants[at + stride] = b;
    quants[at + 2 * stride] = c;
    quants[at + 3 * stride] = d;
  }
}

/**
 * Returns a function that distributes the nibbles of 32 bytes to two units: the low nibbles to the
 * first, the high nibbles to the unit `unitsApart` later. It writes four words to each.
 */
function nibbleSplitter(unitsApart: number) {
  return ({ from, half, quants, stride }: RowCursor, offset: number, first: number): void => {
    const i = half + offset;
    const second = first + unitsApart * stride;
    for (let j = 0; j < 4; j++) {
      const a = wordAt(from, i + j * 2);
      const b = wordAt(from, i + 8 + j * 2);
      quants[first + j] = a & NIBBLES | (b & NIBBLES) << 4;
      quants[second + j] = a >>> 4 & NIBBLES | b & ~NIBBLES;
    }
  };
}

const splitNibbles = nibbleSplitter(1);
const splitNibblesOfHalf = nibbleSplitter(2);

/** Writes the four bytes of `word` to the row's byte in four scale words, the first at `at`. */
function spreadBytes({ scaleBytes, scaleAt, row }: RowCursor, at: number, word: number): void {
  const to = 4 * (scaleAt + at) + row;
  scaleBytes[to] = word;
  scaleBytes[to + 4] = word >>> 8;
  scaleBytes[to + 8] = word >>> 16;
  scaleBytes[to + 12] = word >>> 24;
}

/**
 * Packs two 6-bit numbers per span (six_bits.wgsl). `low` and `high` each contain one word for
 * spans 0–3 and one for spans 4–7, with one byte per span: in `low` the low nibbles of both
 * numbers, in `high` their high bit pairs, in the byte's low nibble.
 */
function packSixBits(cursor: RowCursor, low: readonly number[], high: readonly number[]): void {
  spreadBytes(cursor, 0, low[0]!);
  spreadBytes(cursor, 4, low[1]!);
  // Two neighbouring spans share a byte: after the shift these are bytes 0 and 2 of each word.
  const [a, b] = high.map((word) => word | word >>> 4);
  spreadBytes(
    cursor,
    8,
    a! & 0xff | a! >>> 8 & 0xff00 | b! << 16 & 0xff0000 | b! << 8 & 0xff000000,
  );
}

const packQ2K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) spreadBytes(cursor, j * 4, wordAt(from, i + j * 2));
  scales[scaleAt + 16 + row] = wordAt(from, i + 40);
  for (let j = 0; j < 4; j++) {
    const to = quantAt + (j >> 1) * 4 * stride + row * 2 + (j & 1);
    spreadPairs(cursor, 8 + j * 8, to);
  }
};

/** Packs the low nibbles of a word's four bytes into two bytes. */
function evenNibbles(word: number): number {
  const nibbles = word & NIBBLES | (word & NIBBLES) >>> 4;
  return nibbles & 0xff | nibbles >>> 8 & 0xff00;
}

/** Packs the low bit pairs of a word's four bytes into the low nibbles of two bytes. */
function evenPairs(word: number): number {
  const pairs = word & PAIRS | (word & PAIRS) >>> 6;
  return pairs & 0xf | pairs >>> 8 & 0xf00;
}

const packQ3K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  // The low nibbles of sc 0–7 are the low nibbles of bytes 0–7; the low nibbles of sc 8–15 are the
  // high nibbles of these bytes. Byte c of the last word contains the high bit pairs of sc c,
  // 4 + c, 8 + c and 12 + c.
  const first = wordAt(from, i + 48);
  const second = wordAt(from, i + 50);
  const pairs = wordAt(from, i + 52);
  packSixBits(
    cursor,
    [0, 4].map((shift) => evenNibbles(first >>> shift) | evenNibbles(second >>> shift) << 16),
    [0, 4].map((shift) => evenPairs(pairs >>> shift) | evenPairs(pairs >>> shift + 2) << 16),
  );
  scales[scaleAt + 12 + row] = halfAt(from, i + 54);
  for (let j = 0; j < 4; j++) {
    const to = quantAt + (j >> 1) * 4 * stride + row * 2 + (j & 1);
    spreadPairs(cursor, 16 + j * 8, to);
  }
  spreadBits(cursor, 0, quantAt + 8 + row);
};

/**
 * Packs the scales (sc), minima (m), d and dmin of Q4_K and Q5_K. In the file, the low six bits of
 * bytes 0–3 are sc 0–3, those of bytes 4–7 m 0–3. Bytes 8–11 contain the low nibbles of sc and m
 * 4–7; their high bit pairs are the top bits of bytes 0–3 (sc) and 4–7 (m).
 */
function packScalesAndMinima(cursor: RowCursor): void {
  const { from, half: i, row, scales, scaleAt } = cursor;
  const a = wordAt(from, i + 2);
  const b = wordAt(from, i + 4);
  packSixBits(
    cursor,
    [a & NIBBLES | (b & NIBBLES) << 4, wordAt(from, i + 6)],
    [4, 6].map((shift) => a >>> shift & PAIRS | (b >>> shift & PAIRS) << 2),
  );
  scales[scaleAt + 12 + row] = wordAt(from, i);
}

const packQ4K: PackSuperblock = (cursor) => {
  const { row, quantAt, stride } = cursor;
  packScalesAndMinima(cursor);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(cursor, 8 + pair * 16, to);
  }
};

const packQ5K: PackSuperblock = (cursor) => {
  const { row, quantAt, stride } = cursor;
  packScalesAndMinima(cursor);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(cursor, 24 + pair * 16, to);
  }
  spreadBits(cursor, 8, quantAt + 16 + row);
};

const packQ6K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) {
    // Makes the signed scales unsigned: unsigned bytes take fewer instructions to convert.
    spreadBytes(cursor, j * 4, wordAt(from, i + 96 + j * 2) ^ 0x80808080);
  }
  const d = halfAt(from, i + 104);
  const pair = scaleAt + 16 + (row >> 1);
  scales[pair] = (row & 1) === 0 ? d : scales[pair]! | d << 16;
  for (let half = 0; half < 2; half++) {
    // A half is 128 weights. Its bytes 0–31 contain units 0 and 2, bytes 32–63 units 1 and 3.
    for (let j = 0; j < 2; j++) {
      const to = quantAt + (half * 4 + j) * stride + row * 4;
      splitNibblesOfHalf(cursor, half * 32 + j * 16, to);
    }
    for (let j = 0; j < 2; j++) {
      const to = quantAt + half * 4 * stride + 16 + row * 2 + j;
      spreadPairs(cursor, 64 + half * 16 + j * 8, to);
    }
  }
};

const packIQ4XS: PackSuperblock = (cursor) => {
  const { from, half: i, row, quants, quantAt, stride, scaleBytes, scaleAt } = cursor;
  // The file starts with two halves, d and the high bit pairs, then a word of low nibbles.
  spreadBytes(cursor, 0, wordAt(from, i + 2));
  const high = halfAt(from, i + 1);
  const d = halfAt(from, i);
  const at = 4 * (scaleAt + 4);
  scaleBytes[at + row] = high;
  scaleBytes[at + 4 + row] = high >>> 8;
  scaleBytes[at + 8 + 2 * row] = d;
  scaleBytes[at + 9 + 2 * row] = d >>> 8;
  for (let span = 0; span < 8; span++) {
    const to = quantAt + span * stride + row * 4;
    for (let j = 0; j < 4; j++) quants[to + j] = wordAt(from, i + 4 + span * 8 + j * 2);
  }
};

/** The packer of each format with superblocks. */
export const PACK_K: Partial<Record<TensorType, PackSuperblock>> = {
  Q2_K: packQ2K,
  Q3_K: packQ3K,
  Q4_K: packQ4K,
  Q5_K: packQ5K,
  Q6_K: packQ6K,
  IQ4_XS: packIQ4XS,
};
