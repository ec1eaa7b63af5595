/**
 * From rows as a model file stores them to the device's units (layout.wgsl): the quants of four
 * rows × 32 weights, and, in a buffer of their own, their scales. Bits are moved, never recomputed,
 * so the device holds what the file holds.
 */

import { DEVICE_FORMATS } from "./formats.ts";
import { PACK_K, type PackSuperblock } from "./pack_k.ts";
import { halfAt, wordAt } from "./halves.ts";
import type { RowCursor } from "./row_cursor.ts";
import { GROUP_LAYOUT, type TensorType } from "./tensor_types.ts";

/** Packed rows, ready for the device; valid until their arena packs again. */
export interface PackedRows {
  readonly quants: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

/** Memory that packing uses again and again, so that a load's peak stays flat. */
export class PackArena {
  #words = new Uint32Array(0);

  /** Arrays of these lengths, over those handed out before and with what they held unless `zeroed`. */
  take(quants: number, scales: number, zeroed: boolean): PackedRows {
    if (this.#words.length < quants + scales) this.#words = new Uint32Array(quants + scales);
    else if (zeroed) this.#words.fill(0, 0, quants + scales);
    return {
      quants: this.#words.subarray(0, quants),
      scales: this.#words.subarray(quants, quants + scales),
    };
  }
}

/** A matrix, or whole tiles of one. */
export interface MatrixSize {
  readonly rows: number;
  /** Weights a row, a multiple of 32. */
  readonly columns: number;
  /** Groups of four rows whose units interleave: TILE of layout.wgsl. */
  readonly tile: number;
}

/** Sizes of a matrix on the device, in 32-bit words; rows are padded to whole tiles. */
export function packedWords(
  type: TensorType,
  { rows, columns, tile }: MatrixSize,
): { quants: number; scales: number } {
  const { quantWords, scaleWords, superSpans } = DEVICE_FORMATS[type];
  const units = Math.ceil(rows / (4 * tile)) * tile * (columns / 32);
  return { quants: units * quantWords, scales: units / superSpans * scaleWords };
}

/**
 * A quantization group as the file has it: halves (u16) of scales, and for each 32 of its weights
 * of fifth bits and of quants.
 */
interface Fields {
  readonly scales: number;
  readonly fifths: number;
  readonly quants: number;
  /** Flips the signs of signed bytes, which makes them unsigned ones with an offset of 128. */
  readonly flip?: number;
  /** A scale is a byte on the device, the lower one of its half. */
  readonly narrow?: boolean;
}

const FIELDS: Partial<Record<TensorType, Fields>> = {
  F32: { scales: 0, fifths: 0, quants: 64 },
  F16: { scales: 0, fifths: 0, quants: 32 },
  BF16: { scales: 0, fifths: 0, quants: 32 },
  Q4_0: { scales: 1, fifths: 0, quants: 8 },
  Q4_1: { scales: 2, fifths: 0, quants: 8 },
  Q5_0: { scales: 1, fifths: 2, quants: 8 },
  Q5_1: { scales: 2, fifths: 2, quants: 8 },
  Q8_0: { scales: 1, fifths: 0, quants: 16, flip: 0x80808080 },
  IQ4_NL: { scales: 1, fifths: 0, quants: 8 },
  MXFP4: { scales: 1, fifths: 0, quants: 8, narrow: true }, // As `widenExponents` leaves them.
  MLX4_64: { scales: 2, fifths: 0, quants: 8 },
  MLX4_128: { scales: 2, fifths: 0, quants: 8 },
  MLX8_32: { scales: 2, fifths: 0, quants: 16 },
  MLX8_64: { scales: 2, fifths: 0, quants: 16 },
  MLX8_128: { scales: 2, fifths: 0, quants: 16 },
};

/** What is packed, and into what memory. */
export interface PackOptions extends MatrixSize {
  readonly arena?: PackArena;
  /** Tensors whose rows alternate on the device; default 1. */
  readonly tensors?: number;
}

/**
 * Packs rows that start a tile.
 *
 * @param source the rows' bytes one after the other, all those of a tensor before those of the next
 */
export function packRows(
  type: TensorType,
  source: Uint8Array<ArrayBuffer>,
  { rows, columns, tile, arena = new PackArena(), tensors = 1 }: PackOptions,
): PackedRows {
  const { quantWords, scaleWords, superSpans } = DEVICE_FORMATS[type];
  const words = packedWords(type, { rows, columns, tile });
  const { quants, scales } = arena.take(
    words.quants,
    words.scales,
    rows % (4 * tile) !== 0, // Whole tiles overwrite all of it.
  );
  const superblocks = columns / 32 / superSpans;
  const { weights, bytes } = type === "MXFP4" ? WIDENED : GROUP_LAYOUT[type];
  const fields = FIELDS[type];
  const packK = PACK_K[type];
  const cursor: RowCursor = {
    from: wordsOf(type === "MXFP4" ? widenExponents(source) : source),
    half: 0,
    quants,
    quantAt: 0,
    stride: tile * quantWords,
    scales,
    scaleBytes: new Uint8Array(scales.buffer, scales.byteOffset, 4 * scales.length),
    scaleAt: 0,
    row: 0,
  };
  const superHalves = superSpans * 32 / weights * bytes / 2;
  const scaleHalves = new Uint16Array(scales.buffer, scales.byteOffset, 2 * scales.length);
  const scaleStride = tile * scaleWords;
  const plan = { superblocks, superSpans, superHalves, scaleHalves, scaleStride };
  const each = rows / tensors;
  for (let at = 0; at < rows; at++) {
    const row = at % each * tensors + Math.floor(at / each);
    const group = row >> 2;
    const lane = group % tile;
    const superUnit = Math.floor(group / tile) * superblocks * tile + lane;
    cursor.row = row & 3;
    cursor.quantAt = ((superUnit - lane) * superSpans + lane) * quantWords;
    cursor.scaleAt = superUnit * scaleWords;
    if (packK !== undefined) packRowK(cursor, packK, plan);
    else if (fields !== undefined) packRow(cursor, fields, plan);
  }
  interleaveTiles(quants, quantWords, tile);
  interleaveTiles(scales, scaleWords, tile);
  return { quants, scales };
}

/** MXFP4's groups with 16 bits for the exponent, so that they start at halves of words. */
const WIDENED = { weights: 32, bytes: 18 };

function widenExponents(source: Uint8Array): Uint8Array<ArrayBuffer> {
  const { bytes } = GROUP_LAYOUT.MXFP4;
  const wide = new Uint8Array(source.length / bytes * WIDENED.bytes);
  for (let from = 0, to = 0; from < source.length; from += bytes, to += WIDENED.bytes) {
    wide[to] = source[from]!;
    wide.set(source.subarray(from + 1, from + bytes), to + 2);
  }
  return wide;
}

/** How a row is walked. */
interface RowPlan {
  readonly superblocks: number;
  /** Spans of 32 weights of a superblock. */
  readonly superSpans: number;
  /** Halves of a superblock in the file. */
  readonly superHalves: number;
  readonly scaleHalves: Uint16Array;
  /** Words from a superblock's scales to the next one's. */
  readonly scaleStride: number;
}

function packRowK(cursor: RowCursor, pack: PackSuperblock, plan: RowPlan): void {
  for (let superblock = 0; superblock < plan.superblocks; superblock++) {
    pack(cursor);
    cursor.half += plan.superHalves;
    cursor.quantAt += plan.superSpans * cursor.stride;
    cursor.scaleAt += plan.scaleStride;
  }
}

/**
 * Reorders tiles of units of `count` words: the first vec4 of all units of a tile, then the second of
 * all, and so on (word_of in layout.wgsl).
 */
function interleaveTiles(words: Uint32Array, count: number, tile: number): void {
  if (tile === 1 || count <= 4) return;
  const copy = new Uint32Array(tile * count);
  for (let start = 0; start < words.length; start += copy.length) {
    copy.set(words.subarray(start, start + copy.length));
    let from = 0;
    for (let unit = 0; unit < tile; unit++) {
      for (let at = start + unit * 4; from < (unit + 1) * count; at += tile * 4, from += 4) {
        words[at] = copy[from]!;
        words[at + 1] = copy[from + 1]!;
        words[at + 2] = copy[from + 2]!;
        words[at + 3] = copy[from + 3]!;
      }
    }
  }
}

function packRow(
  cursor: RowCursor,
  { scales, fifths, quants, flip = 0, narrow = false }: Fields,
  { superblocks, superSpans, scaleHalves, scaleStride }: RowPlan,
): void {
  const { from, row, stride, quants: toQuants } = cursor;
  const words = quants / 2;
  let { half, quantAt } = cursor;
  quantAt += row * words;
  const toFifths = 4 * words + row - row * words;
  const [toScales, perWord] = narrow ? [cursor.scaleBytes, 4] : [scaleHalves, 2];
  let scaleAt = perWord * cursor.scaleAt + row * scales;
  for (let superblock = 0; superblock < superblocks; superblock++) {
    for (let j = 0; j < scales; j++, half++) toScales[scaleAt + j] = halfAt(from, half);
    scaleAt += perWord * scaleStride;
    for (let span = 0; span < superSpans; span++) {
      if (fifths > 0) {
        toQuants[quantAt + toFifths] = bitsByBytes(wordAt(from, half));
        half += fifths;
      }
      cursor.half = half;
      cursor.quantAt = quantAt;
      moveWords(cursor, words, flip);
      half += quants;
      quantAt += stride;
    }
  }
  cursor.half = half;
}

/** Bit 4i + c to bit i of byte c: kernels then read the bits of four neighbours in one go. */
function bitsByBytes(bits: number): number {
  let out = 0;
  for (let i = 0; i < 8; i++) {
    // The product has bit c of the nibble at 8c.
    out |= (Math.imul(bits >>> 4 * i & 15, 0x00204081) & 0x01010101) << i;
  }
  return out;
}

/** Copies `count` words, a multiple of four, with some bits flipped. */
function moveWords(
  { from, half, quants: to, quantAt: at }: RowCursor,
  count: number,
  flip: number,
): void {
  let next = half >> 1;
  const end = at + count;
  if ((half & 1) === 0) {
    for (; at < end; at += 4, next += 4) {
      to[at] = from[next]! ^ flip;
      to[at + 1] = from[next + 1]! ^ flip;
      to[at + 2] = from[next + 2]! ^ flip;
      to[at + 3] = from[next + 3]! ^ flip;
    }
    return;
  }
  for (; at < end; at += 4, next += 4) {
    const b = from[next + 1]!;
    const c = from[next + 2]!;
    const d = from[next + 3]!;
    to[at] = (from[next]! >>> 16 | b << 16) ^ flip;
    to[at + 1] = (b >>> 16 | c << 16) ^ flip;
    to[at + 2] = (c >>> 16 | d << 16) ^ flip;
    to[at + 3] = (d >>> 16 | from[next + 4]! << 16) ^ flip;
  }
}

/** The bytes as words, the last filled up with zeros; a copy where they are not aligned to words. */
function wordsOf(bytes: Uint8Array<ArrayBuffer>): Uint32Array {
  if (bytes.byteOffset % 4 === 0 && bytes.length % 4 === 0) {
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }
  const copy = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  copy.set(bytes);
  return new Uint32Array(copy.buffer);
}
