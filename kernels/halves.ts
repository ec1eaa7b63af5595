/** Reads halves (u16), and words that start at any half, from an array of words. */

/** Returns half `i`. */
export function halfAt(from: Uint32Array, i: number): number {
  return from[i >> 1]! >>> ((i & 1) << 4) & 0xffff;
}

/** Returns the word that starts at half `i`. */
export function wordAt(from: Uint32Array, i: number): number {
  const word = from[i >> 1]!;
  return (i & 1) === 0 ? word : word >>> 16 | from[(i >> 1) + 1]! << 16;
}
