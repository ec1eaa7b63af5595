/**
 * Packing of the K-quants: superblocks of 256 weights become eight units of 32, each with its own
 * low nibbles or pairs of bits and high bits, so that kernels read every format alike. Source of
 * the files' layouts: ggml-common.h and ggml-quants.c of ggml; the device's: quant/*.wgsl.
 */

import { halfAt, wordAt } from "./halves.ts";
import type { RowCursor } from "./row_cursor.ts";
import type { TensorType } from "./tensor_types.ts";

/** Packs the superblock at which the cursor stands, without moving it. */
export type PackSuperblock = (cursor: RowCursor) => void;

const NIBBLES = 0x0f0f0f0f;
const PAIRS = 0x03030303;
const BITS = 0x01010101;

/**
 * Four words, `offset` halves from the cursor on, whose bytes hold a pair of bits for each of four
 * units, the first's lowest: a word for each unit, whose byte c has the pairs of the words' bytes c,
 * to word `at` and the same of the units after it.
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

/** Eight words whose bytes hold a bit for each of eight units: as above, a bit instead of a pair. */
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

/** 32 bytes that hold nibbles of two units, so many apart (low: the first's): four words for each. */
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

/** Four bytes of a word to the row's bytes of four words, `at` being the first. */
function spreadBytes({ scaleBytes, scaleAt, row }: RowCursor, at: number, word: number): void {
  const to = 4 * (scaleAt + at) + row;
  scaleBytes[to] = word;
  scaleBytes[to + 4] = word >>> 8;
  scaleBytes[to + 8] = word >>> 16;
  scaleBytes[to + 12] = word >>> 24;
}

/**
 * Two numbers of six bits for each span (six_bits.wgsl), a byte a span: the low nibbles of both in
 * words for spans 0–3 and 4–7, the high pairs of bits likewise, in the low half of each byte.
 */
function packSixBits(cursor: RowCursor, low: readonly number[], high: readonly number[]): void {
  spreadBytes(cursor, 0, low[0]!);
  spreadBytes(cursor, 4, low[1]!);
  // Of neighbouring spans one byte: what bytes 0 and 2 of the words hold.
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

/** The low nibbles of a word's bytes, two in each of two bytes. */
function evenNibbles(word: number): number {
  const nibbles = word & NIBBLES | (word & NIBBLES) >>> 4;
  return nibbles & 0xff | nibbles >>> 8 & 0xff00;
}

/** The low pairs of bits of a word's bytes, two in each of two bytes. */
function evenPairs(word: number): number {
  const pairs = word & PAIRS | (word & PAIRS) >>> 6;
  return pairs & 0xf | pairs >>> 8 & 0xf00;
}

const packQ3K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  // Low nibbles of sc 0–7 are those of bytes 0–7, of sc 8–15 their high nibbles; byte c of the last
  // word has the high pairs of bits of sc c, 4 + c, 8 + c and 12 + c.
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
 * sc and m of Q4_K and Q5_K: low six bits of bytes 0–3 are sc 0–3, of bytes 4–7 m 0–3; bytes 8–11
 * have the low nibbles of sc and m 4–7, whose high pairs of bits are atop bytes 0–3 and 4–7.
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
    // Unsigned bytes take fewer instructions to convert.
    spreadBytes(cursor, j * 4, wordAt(from, i + 96 + j * 2) ^ 0x80808080);
  }
  const d = halfAt(from, i + 104);
  const pair = scaleAt + 16 + (row >> 1);
  scales[pair] = (row & 1) === 0 ? d : scales[pair]! | d << 16;
  for (let half = 0; half < 2; half++) {
    // Of the 128 weights of a half, bytes 0–31 have units 0 and 2, bytes 32–63 units 1 and 3.
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
  // Halves: d, high pairs of bits, then a word of low nibbles.
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
