/**
 * Unpacks formats whose quants are indices into a table of values. See dequantize.ts for the
 * arithmetic. Source of the layouts: ggml-common.h and ggml-quants.c of ggml.
 */

import { F16_VALUES } from "./f16.ts";
import { QUANT_VALUES } from "./tensor_types.ts";

/**
 * Group: d, then 16 bytes with weight j in the low nibble of byte j, weight j + 16 in its high
 * nibble.
 */
export function unpackIQ4NL(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 18) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    unpackGroup(b.subarray(at + 2, at + 18), out.subarray(o, o + 32), { d, values: IQ4 });
  }
}

/**
 * Superblock: d, 2 bytes with the high two bits of each scale, 4 bytes with the low nibbles of the
 * scales, then 16 bytes as in IQ4_NL per group of 32 weights.
 */
export function unpackIQ4XS(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 136) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    const high = b[at + 2]! | b[at + 3]! << 8;
    for (let sub = 0; sub < 8; sub++) {
      const low = b[at + 4 + (sub >> 1)]! >> 4 * (sub & 1) & 15;
      const scale = (low | (high >> 2 * sub & 3) << 4) - 32;
      const from = at + 8 + sub * 16, to = o + sub * 32;
      const group = { d: d * scale, values: IQ4 };
      unpackGroup(b.subarray(from, from + 16), out.subarray(to, to + 32), group);
    }
  }
}

/** Group: the exponent of a power of two (E8M0), then 16 bytes as in IQ4_NL. */
export function unpackMXFP4(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 32, at += 17) {
    // The exponent's bias is 127, but the values in the table are doubled.
    const group = { d: 2 ** (b[at]! - 128), values: MXFP4 };
    unpackGroup(b.subarray(at + 1, at + 17), out.subarray(o, o + 32), group);
  }
}

const { IQ4, MXFP4 } = QUANT_VALUES;

function unpackGroup(
  quants: Uint8Array,
  out: Float32Array,
  { d, values }: { readonly d: number; readonly values: readonly number[] },
): void {
  for (let j = 0; j < 16; j++) {
    const q = quants[j]!;
    out[j] = d * values[q & 15]!;
    out[j + 16] = d * values[q >> 4]!;
  }
}
