/**
 * From rows as a model file stores them to the device's units (layout.wgsl): the quants of four
 * rows × 32 weights, and, in a buffer of their own, their scales. Bits are moved, never recomputed,
 * so the device holds what the file holds.
 */

import { DEVICE_FORMATS } from "./formats.ts";
import { PACK_K } from "./pack_k.ts";
import { BLOCK_LAYOUT, type TensorType } from "./tensor_types.ts";

/** Packed rows, ready for the device; valid until their arena packs again. */
export interface PackedRows {
  readonly quants: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

/** Memory that packing uses again and again, so that a load's peak stays flat. */
export class PackArena {
  #words = new Uint32Array(0);

  /** Zeroed arrays of these lengths, over those handed out before. */
  take(quants: number, scales: number): PackedRows {
    if (this.#words.length < quants + scales) this.#words = new Uint32Array(quants + scales);
    else this.#words.fill(0, 0, quants + scales);
    return {
      quants: this.#words.subarray(0, quants),
      scales: this.#words.subarray(quants, quants + scales),
    };
  }
}

/** Sizes of a matrix on the device, in 32-bit words; rows are padded to whole tiles. */
export function packedWords(
  type: TensorType,
  rows: number,
  columns: number,
  tile: number,
): { quants: number; scales: number } {
  const { quantWords, scaleWords, superBlocks } = DEVICE_FORMATS[type];
  const units = Math.ceil(rows / (4 * tile)) * tile * (columns / 32);
  return { quants: units * quantWords, scales: units / superBlocks * scaleWords };
}

/**
 * A block as the file has it: halves (u16) of scales, and for each 32 of its weights of fifth bits
 * and of quants.
 */
interface Fields {
  readonly scales: number;
  readonly fifths: number;
  readonly quants: number;
}

const FIELDS: Partial<Record<TensorType, Fields>> = {
  F32: { scales: 0, fifths: 0, quants: 64 },
  F16: { scales: 0, fifths: 0, quants: 32 },
  BF16: { scales: 0, fifths: 0, quants: 32 },
  Q4_0: { scales: 1, fifths: 0, quants: 8 },
  Q4_1: { scales: 2, fifths: 0, quants: 8 },
  Q5_0: { scales: 1, fifths: 2, quants: 8 },
  Q5_1: { scales: 2, fifths: 2, quants: 8 },
  Q8_0: { scales: 1, fifths: 0, quants: 16 },
  MLX4_64: { scales: 2, fifths: 0, quants: 8 },
  MLX4_128: { scales: 2, fifths: 0, quants: 8 },
  MLX8_32: { scales: 2, fifths: 0, quants: 16 },
  MLX8_64: { scales: 2, fifths: 0, quants: 16 },
  MLX8_128: { scales: 2, fifths: 0, quants: 16 },
};

/**
 * Packs rows that start a tile.
 *
 * @param source the rows' bytes one after the other, at an even offset of their buffer
 * @param columns weights a row, a multiple of 32
 */
export function packRows(
  type: TensorType,
  source: Uint8Array<ArrayBuffer>,
  rows: number,
  columns: number,
  tile: number,
  arena: PackArena = new PackArena(),
): PackedRows {
  const { quantWords, scaleWords, superBlocks } = DEVICE_FORMATS[type];
  const words = packedWords(type, rows, columns, tile);
  const { quants, scales } = arena.take(words.quants, words.scales);
  const from = new Uint16Array(source.buffer, source.byteOffset, source.byteLength >> 1);
  const supers = columns / 32 / superBlocks;
  const { weights, bytes } = BLOCK_LAYOUT[type];
  const superHalves = superBlocks * 32 / weights * bytes / 2;
  const fields = FIELDS[type];
  const packK = PACK_K[type];
  const toQuants = halvesOf(quants);
  const toScales = halvesOf(scales);
  let i = 0;
  for (let row = 0; row < rows; row++) {
    const group = row >> 2;
    const first = Math.floor(group / tile) * supers * tile + group % tile;
    for (let block = 0; block < supers; block++, i += superHalves) {
      const superUnit = first + block * tile;
      const unit = (superUnit - group % tile) * superBlocks + group % tile;
      if (packK !== undefined) {
        packK(
          from,
          i,
          row & 3,
          quants,
          unit * quantWords,
          tile * quantWords,
          scales,
          superUnit * scaleWords,
        );
      } else if (fields !== undefined) {
        packBlock(
          from,
          i,
          row & 3,
          fields,
          superBlocks,
          toQuants,
          unit * quantWords * 2,
          tile * quantWords * 2,
          toScales,
          superUnit * scaleWords * 2,
        );
      }
    }
  }
  return { quants, scales };
}

function packBlock(
  from: Uint16Array,
  i: number,
  row: number,
  { scales, fifths, quants }: Fields,
  units: number,
  toQuants: Uint16Array,
  quantAt: number,
  stride: number,
  toScales: Uint16Array,
  scaleAt: number,
): void {
  let to = scaleAt + row * scales;
  for (let j = 0; j < scales; j++) toScales[to++] = from[i++]!;
  for (let unit = 0; unit < units; unit++, quantAt += stride) {
    to = quantAt + 4 * quants + row * fifths;
    for (let j = 0; j < fifths; j++) toQuants[to++] = from[i++]!;
    to = quantAt + row * quants;
    for (let j = 0; j < quants; j++) toQuants[to++] = from[i++]!;
  }
}

function halvesOf(words: Uint32Array<ArrayBuffer>): Uint16Array {
  return new Uint16Array(words.buffer, words.byteOffset, words.length * 2);
}
