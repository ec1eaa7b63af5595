/** Seeded random weights in every packed format, for models that are made rather than trained. */

import { GROUP_LAYOUT, packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { HALVES_AT, type QuantizedType } from "./finite_weights.ts";

/** Pseudorandom numbers: mulberry32 by Tommy Ettinger (public domain), 32 bits of state. */
export class RandomSource {
  #state: number;

  /** A sequence of its own for each pair of seed and name (FNV-1a), in whatever order they are made. */
  constructor(seed: number, name = "") {
    let hash = 0x811c9dc5 ^ seed;
    for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.#state = hash;
  }

  /** An integer in [0, 2^32). */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (bits ^ (bits >>> 14)) >>> 0;
  }

  /** A number in [0, 1). */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /** Mean 0, standard deviation 1, bell-shaped within ±3: the sum of three uniform numbers. */
  bell(): number {
    return 2 * (this.uniform() + this.uniform() + this.uniform()) - 3;
  }
}

/**
 * What a group of random bits stands for when its scale is 1: the standard deviation, and the ratio
 * of minimum to scale that makes the mean 0. Measured over a million random weights.
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

/** What random weights are drawn from. */
export interface WeightDistribution {
  readonly random: RandomSource;
  /** Their standard deviation. */
  readonly deviation: number;
  /** Default 0, which is all that quantized formats take. */
  readonly mean?: number;
}

/**
 * Packed bytes of `count` random weights.
 *
 * @throws {RangeError} if `count` is not whole groups, or a quantized format is to have a mean.
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
        view.setUint16(2 * i, wide.getUint16(2, true), true); // The upper half: rounds towards 0.
      }
      return bytes;
    }
  }
  if (mean !== 0) throw new RangeError(`Cannot make ${type} weights with a mean: got ${mean}`);
  for (let i = 0; i + 4 <= bytes.length; i += 4) view.setUint32(i, random.uint32(), true);
  if (bytes.length % 2 !== 0) bytes[bytes.length - 3] = random.uint32();
  if (bytes.length % 4 !== 0) view.setUint16(bytes.length - 2, random.uint32() & 0xffff, true);
  const [unit, ratio = 0] = RANDOM_GROUPS[type];
  if (type === "MXFP4") {
    // The powers of two on either side, so that their squares are as asked on average.
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
