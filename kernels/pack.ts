/**
 * Packs rows from a model file into the device's units (layout.wgsl): the quants of four rows × 32
 * weights and, in a separate buffer, their scales. Bits are moved, never recomputed, so the weights
 * on the device are exactly those of the file.
 */

import { DEVICE_FORMATS } from "./formats.ts";
import { PACK_K, type PackSuperblock } from "./pack_k.ts";
import { halfAt, wordAt } from "./halves.ts";
import type { RowCursor } from "./row_cursor.ts";
import { GROUP_LAYOUT, type TensorType } from "./tensor_types.ts";

/** Packed rows, ready for the device. They are valid until their arena is used again. */
export interface PackedRows {
  readonly quants: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

/** Memory that packing reuses, so that loading many matrices does not raise the peak memory. */
export class PackArena {
  #words = new Uint32Array(0);

  /**
   * Returns arrays of these lengths, in the same memory as those returned before. Without `zeroed`,
   * they may contain old data.
   */
  take(quants: number, scales: number, zeroed: boolean): PackedRows {
    if (this.#words.length < quants + scales) this.#words = new Uint32Array(quants + scales);
    else if (zeroed) this.#words.fill(0, 0, quants + scales);
    return {
      quants: this.#words.subarray(0, quants),
      scales: this.#words.subarray(quants, quants + scales),
    };
  }
}

/** The size of a matrix, or of whole tiles of one. */
export interface MatrixSize {
  readonly rows: number;
  /** Weights per row, a multiple of 32. */
  readonly columns: number;
  /** Groups of four rows whose units interleave: TILE of layout.wgsl. */
  readonly tile: number;
}

/** Returns the sizes of a matrix on the device, in 32-bit words; rows are padded to whole tiles. */
export function packedWords(
  type: TensorType,
  { rows, columns, tile }: MatrixSize,
): { quants: number; scales: number } {
  const { quantWords, scaleWords, superSpans } = DEVICE_FORMATS[type];
  const units = Math.ceil(rows / (4 * tile)) * tile * (columns / 32);
  return { quants: units * quantWords, scales: units / superSpans * scaleWords };
}

/**
 * The layout of a quantization group in the file, in halves (u16): first its scales, then fifth
 * bits and quants for every 32 weights.
 */
interface Fields {
  readonly scales: number;
  readonly fifths: number;
  readonly quants: number;
  /** Mask that flips the sign bits of signed bytes, so that they become unsigned, offset by 128. */
  readonly flip?: number;
  /** Whether a scale is one byte on the device: the low byte of its half. */
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
  MXFP4: { scales: 1, fifths: 0, quants: 8, narrow: true }, // After `widenExponents`.
  MLX4_64: { scales: 2, fifths: 0, quants: 8 },
  MLX4_128: { scales: 2, fifths: 0, quants: 8 },
  MLX8_32: { scales: 2, fifths: 0, quants: 16 },
  MLX8_64: { scales: 2, fifths: 0, quants: 16 },
  MLX8_128: { scales: 2, fifths: 0, quants: 16 },
};

/** The size of the matrix to pack, and how to pack it. */
export interface PackOptions extends MatrixSize {
  /** Memory for the result; default: new memory. */
  readonly arena?: PackArena;
  /** Number of tensors whose rows alternate on the device; default 1. */
  readonly tensors?: number;
}

/**
 * Packs rows. The first of them must be the first row of a tile.
 *
 * @param source the bytes of the rows, one after the other: all rows of the first tensor, then
 *   those of the next
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
    rows % (4 * tile) !== 0, // Whole tiles overwrite all of the memory.
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

/**
 * MXFP4's groups with the exponent widened to 16 bits, so that each group starts at a half (u16).
 */
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

/** Sizes and strides for packing a row, and where its scales go. */
interface RowPlan {
  readonly superblocks: number;
  /** Spans of 32 weights per superblock. */
  readonly superSpans: number;
  /** Halves (u16) per superblock in the file. */
  readonly superHalves: number;
  /** The scales buffer, as halves (u16). */
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
 * Reorders the units of each tile, `count` words per unit: the first vec4 of every unit comes
 * first, then the second vec4 of every unit, and so on (word_of in layout.wgsl).
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

/**
 * Moves bit 4i + c to bit i of byte c, so that kernels read the bits of four neighbours at once.
 */
function bitsByBytes(bits: number): number {
  let out = 0;
  for (let i = 0; i < 8; i++) {
    // The product contains bit c of the nibble at bit 8c.
    out |= (Math.imul(bits >>> 4 * i & 15, 0x00204081) & 0x01010101) << i;
  }
  return out;
}

/** Copies `count` words, a multiple of four, and inverts the bits that are set in `flip`. */
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

/** Returns the bytes as words. If they are not whole aligned words, copies and zero-pads them. */
function wordsOf(bytes: Uint8Array<ArrayBuffer>): Uint32Array {
  if (bytes.byteOffset % 4 === 0 && bytes.length % 4 === 0) {
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }
  const copy = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  copy.set(bytes);
  return new Uint32Array(copy.buffer);
}
