/**
 * Unpacks the K-quants: superblocks of 256 weights, in which every 16 or 32 weights share a small
 * integer scale. See dequantize.ts for the arithmetic. Source of the layouts: ggml-common.h and
 * ggml-quants.c of ggml.
 */

import { F16_VALUES } from "./f16.ts";

/**
 * Superblock: 16 bytes, each with a scale (low nibble) and a minimum (high nibble), 64 bytes of
 * 2-bit quants, d, dmin.
 */
export function unpackQ2K(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 84) {
    const d = F16_VALUES[b[at + 80]! | b[at + 81]! << 8]!;
    const min = F16_VALUES[b[at + 82]! | b[at + 83]! << 8]!;
    for (let sub = 0; sub < 16; sub++) {
      const scales = b[at + sub]!;
      const dl = d * (scales & 15);
      const ml = min * (scales >> 4);
      // 32 bytes contain 128 weights, in eight groups of 16. Groups 2s and 2s + 1 are bits 2s and
      // 2s + 1 of the first and of the last 16 bytes.
      const from = at + 16 + (sub >> 3) * 32 + (sub & 1) * 16;
      const shift = sub & 6;
      for (let l = 0; l < 16; l++) out[o + sub * 16 + l] = dl * (b[from + l]! >> shift & 3) - ml;
    }
  }
}

/** Superblock: 32 bytes of inverted third bits, 64 of 2-bit quants, 12 of 6-bit scales, d. */
export function unpackQ3K(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 110) {
    const d = F16_VALUES[b[at + 108]! | b[at + 109]! << 8]!;
    for (let sub = 0; sub < 16; sub++) {
      const low = sub < 8 ? b[at + 96 + sub]! & 15 : b[at + 88 + sub]! >> 4;
      const high = b[at + 104 + (sub & 3)]! >> 2 * (sub >> 2) & 3;
      const dl = d * ((low | high << 4) - 32);
      const from = at + 32 + (sub >> 3) * 32 + (sub & 1) * 16;
      const shift = sub & 6;
      const mask = at + (sub & 1) * 16;
      for (let l = 0; l < 16; l++) {
        const third = b[mask + l]! >> (sub >> 1) & 1;
        out[o + sub * 16 + l] = dl * ((b[from + l]! >> shift & 3) - (third ? 0 : 4));
      }
    }
  }
}

/** Superblock: d, dmin, 12 bytes of 6-bit scales and minima, 128 of 4-bit quants. */
export function unpackQ4K(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 144) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    const min = F16_VALUES[b[at + 2]! | b[at + 3]! << 8]!;
    for (let pair = 0; pair < 4; pair++) {
      // 32 bytes contain two groups, the first in the low nibbles.
      const dl = d * scaleOf(b, at + 4, 2 * pair);
      const ml = min * minimumOf(b, at + 4, 2 * pair);
      const dh = d * scaleOf(b, at + 4, 2 * pair + 1);
      const mh = min * minimumOf(b, at + 4, 2 * pair + 1);
      const from = at + 16 + pair * 32;
      const to = o + pair * 64;
      for (let l = 0; l < 32; l++) {
        const q = b[from + l]!;
        out[to + l] = dl * (q & 15) - ml;
        out[to + l + 32] = dh * (q >> 4) - mh;
      }
    }
  }
}

/**
 * Superblock: d, dmin, 12 bytes of 6-bit scales and minima, 32 of fifth bits, 128 of low 4 bits.
 */
export function unpackQ5K(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 176) {
    const d = F16_VALUES[b[at]! | b[at + 1]! << 8]!;
    const min = F16_VALUES[b[at + 2]! | b[at + 3]! << 8]!;
    for (let sub = 0; sub < 8; sub++) {
      const dl = d * scaleOf(b, at + 4, sub);
      const ml = min * minimumOf(b, at + 4, sub);
      const from = at + 48 + (sub >> 1) * 32;
      const shift = (sub & 1) * 4;
      for (let l = 0; l < 32; l++) {
        const fifth = b[at + 16 + l]! >> sub & 1;
        out[o + sub * 32 + l] = dl * (b[from + l]! >> shift & 15 | fifth << 4) - ml;
      }
    }
  }
}

/**
 * Returns scale `sub` from the 12 bytes at `at`. The low six bits of bytes 0–3 are scales 0–3,
 * those of bytes 4–7 are minima 0–3. Bytes 8–11 contain the low four bits of scales 4–7 (low
 * nibble) and of minima 4–7 (high nibble). The high two bits of scales 4–7 are the top bits of
 * bytes 0–3, those of minima 4–7 the top bits of bytes 4–7.
 */
function scaleOf(b: Uint8Array, at: number, sub: number): number {
  return sub < 4 ? b[at + sub]! & 63 : b[at + 4 + sub]! & 15 | b[at + sub - 4]! >> 6 << 4;
}

/** Returns minimum `sub` from the same 12 bytes (see `scaleOf`). */
function minimumOf(b: Uint8Array, at: number, sub: number): number {
  return sub < 4 ? b[at + 4 + sub]! & 63 : b[at + 4 + sub]! >> 4 | b[at + sub]! >> 6 << 4;
}

/** Superblock: 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed 8-bit scales, d. */
export function unpackQ6K(b: Uint8Array, out: Float32Array, count: number): void {
  for (let o = 0, at = 0; o < count; o += 256, at += 210) {
    const d = F16_VALUES[b[at + 208]! | b[at + 209]! << 8]!;
    for (let half = 0; half < 2; half++) {
      const low = at + half * 64;
      const high = at + 128 + half * 32;
      for (let part = 0; part < 2; part++) {
        // A half of the superblock is four runs of 32 weights. Byte l of their high bits contains
        // those of weight l of each run. A part is 16 weights of each run.
        const scales = at + 192 + half * 8 + part;
        const d0 = d * (b[scales]! << 24 >> 24);
        const d1 = d * (b[scales + 2]! << 24 >> 24);
        const d2 = d * (b[scales + 4]! << 24 >> 24);
        const d3 = d * (b[scales + 6]! << 24 >> 24);
        const to = o + half * 128;
        for (let l = part * 16; l < part * 16 + 16; l++) {
          const q = b[low + l]!;
          const r = b[low + l + 32]!;
          const h = b[high + l]!;
          out[to + l] = d0 * ((q & 15 | (h & 3) << 4) - 32);
          out[to + l + 32] = d1 * ((r & 15 | (h >> 2 & 3) << 4) - 32);
          out[to + l + 64] = d2 * ((q >> 4 | (h >> 4 & 3) << 4) - 32);
          out[to + l + 96] = d3 * ((r >> 4 | (h >> 6) << 4) - 32);
        }
      }
    }
  }
}
