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

const packQ2K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = wordAt(from, i + j * 2);
  scales[scaleAt + 16 + row] = wordAt(from, i + 40);
  for (let j = 0; j < 4; j++) {
    const to = quantAt + (j >> 1) * 4 * stride + row * 2 + (j & 1);
    spreadPairs(cursor, 8 + j * 8, to);
  }
};

const packQ3K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 3; j++) scales[scaleAt + row * 4 + j] = wordAt(from, i + 48 + j * 2);
  scales[scaleAt + row * 4 + 3] = halfAt(from, i + 54);
  for (let j = 0; j < 4; j++) {
    const to = quantAt + (j >> 1) * 4 * stride + row * 2 + (j & 1);
    spreadPairs(cursor, 16 + j * 8, to);
  }
  spreadBits(cursor, 0, quantAt + 8 + row);
};

const packQ4K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = wordAt(from, i + j * 2);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(cursor, 8 + pair * 16, to);
  }
};

const packQ5K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = wordAt(from, i + j * 2);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(cursor, 24 + pair * 16, to);
  }
  spreadBits(cursor, 8, quantAt + 16 + row);
};

const packQ6K: PackSuperblock = (cursor) => {
  const { from, half: i, row, quantAt, stride, scales, scaleAt } = cursor;
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = wordAt(from, i + 96 + j * 2);
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

const packIQ4XS: PackSuperblock = (
  { from, half: i, row, quants, quantAt, stride, scales, scaleAt },
) => {
  for (let j = 0; j < 2; j++) scales[scaleAt + row * 2 + j] = wordAt(from, i + j * 2);
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
