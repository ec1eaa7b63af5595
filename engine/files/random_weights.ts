/** Generates seeded random weights in every packed format, for synthetic models. */

import { GROUP_LAYOUT, packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { HALVES_AT, type QuantizedType } from "./finite_weights.ts";

/** A pseudorandom generator: mulberry32 by Tommy Ettinger (public domain), 32 bits of state. */
export class RandomSource {
  #state: number;

  /** Each pair of seed and name (hashed with FNV-1a) gives a separate sequence. */
  constructor(seed: number, name = "") {
    let hash = 0x811c9dc5 ^ seed;
    for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.#state = hash;
  }

  /** Returns an integer in [0, 2^32). */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (bits ^ (bits >>> 14)) >>> 0;
  }

  /** Returns a number in [0, 1). */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /**
   * Returns a number with a bell-shaped distribution within ±3, mean 0 and standard deviation 1: a
   * scaled sum of three uniform numbers.
   */
  bell(): number {
    return 2 * (this.uniform() + this.uniform() + this.uniform()) - 3;
  }
}

/**
 * For a group of random bits with a scale of 1, the standard deviation of its weights; and the
 * ratio of minimum to scale that makes their mean 0. Measured with a million random weights.
 */
const RANDOM_GROUPS: Readonly<
  Record<QuantizedType, readonly [deviation: number, minimum?: number]>
> = {
  Q4_0: [4.61],
  Q4_1: [4.61, -7.5],
  Q5_0: [9.23],
  Q5_1: [9.23, -15.5],
  Q8_0: [73.9],
  Q2_K: [13.8, 1.5],
  Q3_K: [43.4],
  Q4_K: [258, 7.5],
  Q5_K: [529, 15.5],
  Q6_K: [1366],
  IQ4_NL: [67.4],
  IQ4_XS: [1246],
  MXFP4: [5.85],
  MLX4_64: [4.61, -7.5],
  MLX4_128: [4.61, -7.5],
  MLX8_32: [73.9, -127.5],
  MLX8_64: [73.9, -127.5],
  MLX8_128: [73.9, -127.5],
};

/** The distribution of random weights, and the generator from which they are drawn. */
export interface WeightDistribution {
  readonly random: RandomSource;
  /** Standard deviation of the weights. */
  readonly deviation: number;
  /** Mean of the weights, default 0. Quantized formats support only 0. */
  readonly mean?: number;
}

/**
 * Returns the packed bytes of `count` random weights.
 *
 * @throws {RangeError} if `count` is not a multiple of the group size, or a quantized format is to
 * have a mean other than 0.
 */
export function randomWeights(
  type: TensorType,
  count: number,
  { random, deviation, mean = 0 }: WeightDistribution,
): Uint8Array {
  const bytes = new Uint8Array(packedBytes(type, count));
  const view = new DataView(bytes.buffer);
  switch (type) {
    case "F32":
      for (let i = 0; i < count; i++) {
        view.setFloat32(4 * i, mean + deviation * random.bell(), true);
      }
      return bytes;
    case "F16":
      for (let i = 0; i < count; i++) {
        view.setFloat16(2 * i, mean + deviation * random.bell(), true);
      }
      return bytes;
    case "BF16": {
      const wide = new DataView(new ArrayBuffer(4));
      for (let i = 0; i < count; i++) {
        wide.setFloat32(0, mean + deviation * random.bell(), true);
        view.setUint16(2 * i, wide.getUint16(2, true), true); // The upper half rounds towards 0.
      }
      return bytes;
    }
  }
  if (mean !== 0) {
    throw new RangeError(
      `Cannot generate ${type} weights with mean ${mean}: quantized types support only 0`,
    );
  }
  for (let i = 0; i + 4 <= bytes.length; i += 4) view.setUint32(i, random.uint32(), true);
  if (bytes.length % 2 !== 0) bytes[bytes.length - 3] = random.uint32();
  if (bytes.length % 4 !== 0) view.setUint16(bytes.length - 2, random.uint32() & 0xffff, true);
  const [unit, ratio = 0] = RANDOM_GROUPS[type];
  if (type === "MXFP4") {
    // The scale must be a power of two. Choose one of the two next to the exact scale at random, so
    // that the mean of the squared weights is as requested.
    const below = Math.floor(Math.log2(deviation / unit));
    const share = ((deviation / unit / 2 ** below) ** 2 - 1) / 3;
    for (let start = 0; start < bytes.length; start += GROUP_LAYOUT[type].bytes) {
      bytes[start] = 128 + below + (random.uniform() < share ? 1 : 0);
    }
    return bytes;
  }
  const [scaleAt = 0, minimumAt] = HALVES_AT[type];
  for (let start = 0; start < bytes.length; start += GROUP_LAYOUT[type].bytes) {
    const sign = random.uint32() % 2 === 0 ? 1 : -1;
    const scale = sign * (0.75 + random.uniform() / 2) * deviation / unit;
    view.setFloat16(start + scaleAt, scale, true);
    if (minimumAt !== undefined) view.setFloat16(start + minimumAt, ratio * scale, true);
  }
  return bytes;
}
