/** Seeded random weights in every packed format, for models that are made rather than trained. */

import { BLOCK_LAYOUT, packedBytes, type TensorType } from "../../kernels/tensor_types.ts";

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

/** What a block of random bits stands for when its scale is 1. */
interface RandomBlock {
  /** Offset in the block of the float16 scale. */
  readonly scaleAt: number;
  readonly deviation: number;
  /** Offset of the float16 minimum, and its ratio to the scale that makes the mean 0. */
  readonly minimum?: readonly [at: number, ratio: number];
}

/** Offsets: ggml-common.h. Deviations and ratios: measured over a million random weights. */
const RANDOM_BLOCKS: Readonly<Record<Exclude<TensorType, "F32" | "F16" | "BF16">, RandomBlock>> = {
  Q4_0: { scaleAt: 0, deviation: 4.61 },
  Q4_1: { scaleAt: 0, deviation: 4.61, minimum: [2, -7.5] },
  Q5_0: { scaleAt: 0, deviation: 9.23 },
  Q5_1: { scaleAt: 0, deviation: 9.23, minimum: [2, -15.5] },
  Q8_0: { scaleAt: 0, deviation: 73.9 },
  Q2_K: { scaleAt: 80, deviation: 13.8, minimum: [82, 1.5] },
  Q3_K: { scaleAt: 108, deviation: 43.4 },
  Q4_K: { scaleAt: 0, deviation: 258, minimum: [2, 7.5] },
  Q5_K: { scaleAt: 0, deviation: 529, minimum: [2, 15.5] },
  Q6_K: { scaleAt: 208, deviation: 1366 },
};

/**
 * Packed bytes of `count` random weights.
 *
 * @param deviation standard deviation of the weights.
 * @param mean mean of the weights; block formats take 0 alone.
 * @throws {RangeError} if `count` is no multiple of the block, or a block format is to have a mean.
 */
export function randomWeights(
  type: TensorType,
  count: number,
  deviation: number,
  random: RandomSource,
  mean = 0,
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
  if (bytes.length % 4 !== 0) view.setUint16(bytes.length - 2, random.uint32() & 0xffff, true);
  const block = RANDOM_BLOCKS[type];
  for (let start = 0; start < bytes.length; start += BLOCK_LAYOUT[type].bytes) {
    const sign = random.uint32() % 2 === 0 ? 1 : -1;
    const scale = sign * (0.75 + random.uniform() / 2) * deviation / block.deviation;
    view.setFloat16(start + block.scaleAt, scale, true);
    if (block.minimum !== undefined) {
      const [at, ratio] = block.minimum;
      view.setFloat16(start + at, ratio * scale, true);
    }
  }
  return bytes;
}
