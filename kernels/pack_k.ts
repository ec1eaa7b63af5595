/**
 * Packing of the K-quants: super-blocks of 256 weights become eight units of 32, each with its own
 * low nibbles or pairs of bits and high bits, so that kernels read every format alike. Source of
 * the files' layouts: ggml-common.h and ggml-quants.c of ggml; the device's: quant/*.wgsl.
 */

import type { TensorType } from "./tensor_types.ts";

/**
 * Packs one super-block of one row of a group.
 *
 * @param from the file's halves (u16), the super-block starting at `i`
 * @param quantAt words; the next unit of the row is `stride` words on
 */
type PackSuperBlock = (
  from: Uint16Array,
  i: number,
  row: number,
  quants: Uint32Array,
  quantAt: number,
  stride: number,
  scales: Uint32Array,
  scaleAt: number,
) => void;

const NIBBLES = 0x0f0f0f0f;

/** The 32-bit word at half `i`, which need not be a multiple of two. */
function word(from: Uint16Array, i: number): number {
  return from[i]! | from[i + 1]! << 16;
}

/** Eight words whose bytes hold a bit each, at bit `shift`, to one word: byte 4j + c to bit 4j + c. */
function gatherBits(from: Uint16Array, i: number, shift: number): number {
  let bits = 0;
  for (let j = 0; j < 8; j++) {
    const w = word(from, i + j * 2) >>> shift & 0x01010101;
    bits |= ((w | w >>> 7 | w >>> 14 | w >>> 21) & 15) << 4 * j;
  }
  return bits;
}

/** Four words whose bytes hold a pair of bits each, at bit `shift`, to one word. */
function gatherPairs(from: Uint16Array, i: number, shift: number): number {
  let pairs = 0;
  for (let j = 0; j < 4; j++) {
    const w = word(from, i + j * 2) >>> shift & 0x03030303;
    pairs |= ((w | w >>> 6 | w >>> 12 | w >>> 18) & 255) << 8 * j;
  }
  return pairs;
}

/** 32 bytes that hold nibbles of two units (low: the first's): four words for each. */
function splitNibbles(
  from: Uint16Array,
  i: number,
  quants: Uint32Array,
  first: number,
  second: number,
): void {
  for (let j = 0; j < 4; j++) {
    const a = word(from, i + j * 2);
    const b = word(from, i + 8 + j * 2);
    quants[first + j] = a & NIBBLES | (b & NIBBLES) << 4;
    quants[second + j] = a >>> 4 & NIBBLES | b & ~NIBBLES;
  }
}

const packQ2K: PackSuperBlock = (from, i, row, quants, quantAt, stride, scales, scaleAt) => {
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = word(from, i + j * 2);
  scales[scaleAt + 16 + row] = word(from, i + 40);
  for (let unit = 0; unit < 8; unit++) {
    const source = i + 8 + (unit >> 2) * 16;
    const to = quantAt + unit * stride + row * 2;
    for (let j = 0; j < 2; j++) quants[to + j] = gatherPairs(from, source + j * 8, (unit & 3) * 2);
  }
};

const packQ3K: PackSuperBlock = (from, i, row, quants, quantAt, stride, scales, scaleAt) => {
  for (let j = 0; j < 3; j++) scales[scaleAt + row * 4 + j] = word(from, i + 48 + j * 2);
  scales[scaleAt + row * 4 + 3] = from[i + 54]!;
  for (let unit = 0; unit < 8; unit++) {
    const source = i + 16 + (unit >> 2) * 16;
    const to = quantAt + unit * stride;
    for (let j = 0; j < 2; j++) {
      quants[to + row * 2 + j] = gatherPairs(from, source + j * 8, (unit & 3) * 2);
    }
    quants[to + 8 + row] = gatherBits(from, i, unit);
  }
};

const packQ4K: PackSuperBlock = (from, i, row, quants, quantAt, stride, scales, scaleAt) => {
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = word(from, i + j * 2);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(from, i + 8 + pair * 16, quants, to, to + stride);
  }
};

const packQ5K: PackSuperBlock = (from, i, row, quants, quantAt, stride, scales, scaleAt) => {
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = word(from, i + j * 2);
  for (let pair = 0; pair < 4; pair++) {
    const to = quantAt + pair * 2 * stride + row * 4;
    splitNibbles(from, i + 24 + pair * 16, quants, to, to + stride);
  }
  for (let unit = 0; unit < 8; unit++) {
    quants[quantAt + unit * stride + 16 + row] = gatherBits(from, i + 8, unit);
  }
};

const packQ6K: PackSuperBlock = (from, i, row, quants, quantAt, stride, scales, scaleAt) => {
  for (let j = 0; j < 4; j++) scales[scaleAt + row * 4 + j] = word(from, i + 96 + j * 2);
  scales[scaleAt + 16 + (row >> 1)]! |= from[i + 104]! << 16 * (row & 1);
  for (let half = 0; half < 2; half++) {
    // Of the 128 weights of a half, bytes 0–31 have units 0 and 2, bytes 32–63 units 1 and 3.
    for (let j = 0; j < 2; j++) {
      const to = quantAt + (half * 4 + j) * stride + row * 4;
      splitNibbles(from, i + half * 32 + j * 16, quants, to, to + 2 * stride);
    }
    for (let unit = 0; unit < 4; unit++) {
      const to = quantAt + (half * 4 + unit) * stride + 16 + row * 2;
      for (let j = 0; j < 2; j++) {
        quants[to + j] = gatherPairs(from, i + 64 + half * 16 + j * 8, unit * 2);
      }
    }
  }
};

/** The packer of each K-quant. */
export const PACK_K: Partial<Record<TensorType, PackSuperBlock>> = {
  Q2_K: packQ2K,
  Q3_K: packQ3K,
  Q4_K: packQ4K,
  Q5_K: packQ5K,
  Q6_K: packQ6K,
};
