/**
 * Unpacks weights to float32. The values are bit-identical to those of `dequantize` in the `gguf`
 * Python package and, for MLX's formats, to numpy's float32 arithmetic. The product of a half, a
 * group's own scale and a quant has at most 24 significant bits, so it is exact in float32 and in
 * double. A minimum is subtracted in double, and the store to float32 rounds once, as float32
 * arithmetic would.
 *
 * Source of the layouts: ggml-common.h and ggml-quants.c of ggml; gguf-py's quants.py.
 */

import { unpackIQ4NL, unpackIQ4XS, unpackMXFP4 } from "./dequantize_values.ts";
import { unpackQ2K, unpackQ3K, unpackQ4K, unpackQ5K, unpackQ6K } from "./dequantize_k.ts";
import { F16_VALUES } from "./f16.ts";
import { packedBytes, type TensorType } from "./tensor_types.ts";

/**
 * Unpacks the first `count` weights of `bytes`, a whole number of groups, into `out`. It checks
 * nothing: callers validate their ranges once, not for every row.
 */
export type Unpack = (bytes: Uint8Array, out: Float32Array, count: number) => void;

/** The unchecked inner loop of each format. */
export const UNPACK: Readonly<Record<TensorType, Unpack>> = {
  F32: unpackF32,
  F16: unpackHalf,
  BF16: unpackBf16,
  Q4_0: unpackQ40,
  Q4_1: nibbles(32),
  Q5_0: unpackQ50,
  Q5_1: unpackQ51,
  Q8_0: unpackQ80,
  Q2_K: unpackQ2K,
  Q3_K: unpackQ3K,
  Q4_K: unpackQ4K,
  Q5_K: unpackQ5K,
  Q6_K: unpackQ6K,
  IQ4_NL: unpackIQ4NL,
  IQ4_XS: unpackIQ4XS,
  MXFP4: unpackMXFP4,
  MLX4_64: nibbles(64),
  MLX4_128: nibbles(128),
  MLX8_32: unsignedBytes(32),
  MLX8_64: unsignedBytes(64),
  MLX8_128: unsignedBytes(128),
};

/**
 * Unpacks `out.length` weights.
 *
 * @param type the format of `bytes`
 * @param bytes [packedBytes(type, out.length)] or more
 * @throws {RangeError} if `out` is not a whole number of groups, or `bytes` is too short.
 */
export function dequantize(type: TensorType, bytes: Uint8Array, out: Float32Array): void {
  const needed = packedBytes(type, out.length);
  if (bytes.length < needed) {
    throw new RangeError(
      `Cannot unpack ${out.length} ${type} weights: ${needed} bytes are required, got ${bytes.length}`,
    );
  }
  UNPACK[type](bytes, out, out.length);
}

function unpackF32(b: Uint8Array, out: Float32Array, count: number): void {
  // Copies bytes, not floats, because tensors may be unaligned and NaNs must keep their bits.
  new Uint8Array(out.buffer, out.byteOffset, count * 4).set(b.subarray(0, count * 4));
}

function unpackHalf(b: Uint8Array, out: Float32Array, count: number): void {
  for (let i = 0, at = 0; i < count; i++, at += 2) out[i] = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
}

function unpackBf16(b: Uint8Array, out: Float32Array, count: number): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, count);
  for (let i = 0, at = 0; i < count; i++, at += 2) bits[i] = b[at]! << 16 | b[at + 1]! << 24;
}

/**
 * Group: d, then 16 bytes with weight j in the low nibble of byte j, weight j + 16 in its high
 * nibble.
 */
function unpackQ40(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 18) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    for (let j = 0; j < 16; j++) {
      const q = b[at + 2 + j]!;
      out[o + j] = d * ((q & 15) - 8);
      out[o + j + 16] = d * ((q >> 4) - 8);
    }
  }
}

/** Group: d, m, then 16 bytes as in Q4_0 for every 32 weights. */
function nibbles(group: number): Unpack {
  return (b, out, count) => {
    for (let o = 0, at = 0; o < count;) {
      const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
      const m = F16_VALUES[b[at + 2]! | b[at + 3]! << 8]!;
      at += 4;
      for (const next = o + group; o < next; o += 32, at += 16) {
        for (let j = 0; j < 16; j++) {
          const q = b[at + j]!;
          out[o + j] = d * (q & 15) + m;
          out[o + j + 16] = d * (q >> 4) + m;
        }
      }
    }
  };
}

/** Group: d, m, then one unsigned byte per weight. */
function unsignedBytes(group: number): Unpack {
  return (b, out, count) => {
    for (let o = 0, at = 0; o < count;) {
      const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
      const m = F16_VALUES[b[at + 2]! | b[at + 3]! << 8]!;
      at += 4;
      for (const next = o + group; o < next; o++, at++) out[o] = d * b[at]! + m;
    }
  };
}

/** Group: d, a word with the fifth bit of weight j in bit j, then 16 bytes as in Q4_0. */
function unpackQ50(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 22) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    const high = b[at + 2]! | b[at + 3]! << 8 | b[at + 4]! << 16 | b[at + 5]! << 24;
    for (let j = 0; j < 16; j++) {
      const q = b[at + 6 + j]!;
      out[o + j] = d * ((q & 15 | (high >> j & 1) << 4) - 16);
      out[o + j + 16] = d * ((q >> 4 | (high >> j + 16 & 1) << 4) - 16);
    }
  }
}

/** Group: d, m, the fifth bits as in Q5_0, then 16 bytes as in Q4_0. */
function unpackQ51(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 24) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    const m = F16_VALUES[b[at + 2]! | b[at + 3]! << 8]!;
    const high = b[at + 4]! | b[at + 5]! << 8 | b[at + 6]! << 16 | b[at + 7]! << 24;
    for (let j = 0; j < 16; j++) {
      const q = b[at + 8 + j]!;
      out[o + j] = d * (q & 15 | (high >> j & 1) << 4) + m;
      out[o + j + 16] = d * (q >> 4 | (high >> j + 16 & 1) << 4) + m;
    }
  }
}

/** Group: d, then 32 signed bytes. */
function unpackQ80(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 34) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    for (let j = 0; j < 32; j++) out[o + j] = d * (b[at + 2 + j]! << 24 >> 24);
  }
}
