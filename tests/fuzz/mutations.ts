/** Named mutations of bytes and JSON values, chosen by seeded random numbers. */

/** Returns a random integer from 0 up to but not including `below`. */
export type Pick = (below: number) => number;

/** Random numbers that depend only on the seed (mulberry32). */
export function numbersFrom(seed: number): Pick {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * below);
  };
}

/** Extreme values for the numbers in files. */
const EXTREMES = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

export const BYTE_MUTATIONS: Readonly<
  Record<string, (bytes: Uint8Array, pick: Pick) => Uint8Array<ArrayBuffer>>
> = {
  "change bytes": (bytes, pick) => {
    const changed = bytes.slice();
    for (let i = pick(4); i >= 0; i--) changed[pick(changed.length)] = pick(256);
    return changed;
  },
  "flip a bit": (bytes, pick) => {
    const changed = bytes.slice();
    const at = pick(changed.length);
    changed[at] = changed[at]! ^ (1 << pick(8));
    return changed;
  },
  "cut": (bytes, pick) => bytes.slice(0, pick(bytes.length)),
  "put in an extreme number": (bytes, pick) => {
    const changed = bytes.slice();
    const at = pick(Math.max(1, changed.length - 8));
    new DataView(changed.buffer).setBigUint64(at, EXTREMES[pick(EXTREMES.length)]!, true);
    return changed;
  },
  "copy a part over another": (bytes, pick) => {
    const changed = bytes.slice();
    const from = pick(bytes.length);
    changed.set(
      bytes.subarray(from, from + pick(64)).subarray(0, 1 + pick(63)),
      pick(bytes.length - 64),
    );
    return changed;
  },
  "append": (bytes, pick) => {
    const changed = new Uint8Array(bytes.length + 1 + pick(64));
    changed.set(bytes);
    return changed;
  },
};

/** Applies one of the mutations of bytes. */
export function mutateBytes(bytes: Uint8Array, pick: Pick): Uint8Array<ArrayBuffer> {
  const mutations = Object.values(BYTE_MUTATIONS);
  return mutations[pick(mutations.length)]!(bytes, pick);
}

const VALUES = [
  null,
  -1,
  0,
  0.5,
  1e9,
  2 ** 53,
  1e308,
  "",
  "a",
  [],
  {},
  [[]],
  true,
  false,
  "\u001b[",
];

/** Returns a copy of a JSON value with one value in it replaced by an odd one, or deleted. */
export function mutateJson(value: unknown, pick: Pick): unknown {
  if (typeof value !== "object" || value === null || pick(8) === 0) {
    return VALUES[pick(VALUES.length)];
  }
  const keys = Object.keys(value);
  if (keys.length === 0) return VALUES[pick(VALUES.length)];
  const key = keys[pick(keys.length)]!;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  if (pick(10) === 0) delete copy[key];
  else copy[key] = mutateJson(copy[key], pick);
  return copy;
}
