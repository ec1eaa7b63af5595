/** Half precision on the host: WGSL's pack2x16float and unpack2x16float for whole arrays. */

/** The float32 value of each of the 65,536 bit patterns of a half. */
export const F16_VALUES: Float32Array = new Float32Array(
  new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
);

/**
 * Rounds values to halves and packs two per word, the first in the low bits, as `pack2x16float`
 * packs a pair. An odd last value is paired with 0. Rounds to nearest, ties to even. Values that
 * round beyond ±65,504 become infinite; in WGSL their result is indeterminate.
 *
 * @param values [n]
 * @returns [ceil(n / 2)] words
 */
export function packF16(values: ArrayLike<number>): Uint32Array {
  const halves = new Float16Array(values.length + (values.length & 1));
  halves.set(values);
  return new Uint32Array(halves.buffer);
}

/**
 * The inverse of {@linkcode packF16}; exact.
 *
 * @param words [n]
 * @returns [2n] values
 */
export function unpackF16(words: Uint32Array): Float32Array {
  return new Float32Array(new Float16Array(words.buffer, words.byteOffset, words.length * 2));
}

/** Rounds each value to a half and back to float32, as e.g. an f16 KV cache does. */
export function roundF16(values: ArrayLike<number>): Float32Array {
  return new Float32Array(Float16Array.from(values));
}
