/**
 * Compares RoPE, the norms of heads, appending to the cache, and attention on the device with the
 * reference.
 */

import { packF16, roundF16, unpackF16 } from "../../../kernels/f16.ts";
import { attention, rmsNorm, rope } from "../../../kernels/reference.ts";
import type { KvType } from "../../../kernels/sizes.ts";
import type { HeadShape } from "../../../kernels/specs.ts";
import { RandomSource } from "../../files/random_weights.ts";
import { temperatureAt, type TemperatureSpec } from "../../model/rope.ts";
import { type Batch, BLOCK_TOKENS } from "../../run/runner.ts";
import { floats, maxError } from "./products.ts";
import { type KernelHarness, plainBatch } from "./kernel_harness.ts";

/** The layers of these cases use the second of three block tables. */
const TABLE = { group: 1, groups: 3 } as const;

/**
 * Returns the error of adding a branch's RMSNorm to the residual stream, in units of the largest
 * result.
 */
export async function normAddError(
  harness: KernelHarness,
  { dim, tokens }: { readonly dim: number; readonly tokens: number },
): Promise<number> {
  const random = new RandomSource(7);
  const [branch, before] = [floats(tokens * dim, random), floats(tokens * dim, random)];
  const weight = floats(dim, random);
  harness.uploader.write(harness.scratch.hidden, 0, before);
  const [result] = await harness.run(plainBatch(tokens), (counts) => [
    harness.build({ dim }).normAdd(harness.buffer(branch), harness.buffer(weight))
      .at(counts.tokens, counts.attentionParts),
  ], [harness.scratch.hidden]);
  const normed = rmsNorm(branch, weight, 1e-5);
  return errorOf(new Float32Array(result!), before.map((v, i) => v + normed[i]!));
}

/** A step that rotates heads and appends to the cache. */
export interface RopeCase extends HeadShape {
  readonly ropeDims: number;
  readonly layout: "interleaved" | "half";
  /** Scales queries by their position. */
  readonly temperature?: TemperatureSpec;
  /** Whether query and key heads are normalized first. */
  readonly headNorm?: boolean;
  readonly kv: KvType;
}

/**
 * Returns the error of the rotated queries (normalized first or not), and of the whole cache after
 * several sequences were appended to shuffled blocks. It is in units of the largest number, which
 * an f16 cache rounds to eleven bits.
 */
export async function ropeAppendError(harness: KernelHarness, c: RopeCase): Promise<number> {
  const { heads, kvHeads, headDim, ropeDims, layout, temperature, headNorm = false, kv } = c;
  const columns = harness.tuning.attention.by === "tiles";
  const random = new RandomSource(4);
  const blocks = 24;
  const sequences = shuffledSequences([[0, 3], [15, 1], [14, 4], [100, 2]], blocks);
  const places = sequences.flatMap(({ start, tokens, blockTables }) =>
    tokens!.map((_, i) => ({ position: start + i, blockTable: blockTables[TABLE.group]! }))
  );
  const positions = places.map((place) => place.position);
  const frequencies = Array.from({ length: ropeDims / 2 }, (_, i) => 100 ** (-2 * i / ropeDims));
  const width = heads + 2 * kvHeads;
  const qkv = floats(positions.length * width * headDim, random);
  const cache = floats(blocks * kvHeads * BLOCK_TOKENS * headDim, random);
  const norms = floats(2 * headDim, random);
  const keys = harness.buffer(stored(cache, kv));
  const values = harness.buffer(stored(cache, kv));
  harness.uploader.write(harness.scratch.qkv, 0, qkv);
  const results = await harness.run({ sequences }, (counts) => {
    const { angles, rope } = rotations({ ropeDims, frequencies, layout });
    const append = harness.build({ kv }).ropeAppend(
      { heads, kvHeads, headDim, scale: 1, rope, ...(temperature && { temperature }) },
      {
        cache: { keys, values, table: TABLE },
        angles: harness.buffer(angles),
        norms: headNorm ? harness.buffer(norms) : undefined,
      },
    );
    return [append.at(counts.tokens, counts.attentionParts)];
  }, [harness.scratch.queries, keys, values]);

  // Returns some heads of all tokens: queries, keys or values.
  const part = (first: number, count: number) =>
    Float32Array.from(positions.flatMap((_, token) => {
      const at = (token * width + first) * headDim;
      return [...qkv.subarray(at, at + count * headDim)];
    }));
  const normed = (part: Float32Array, norm: number) =>
    headNorm ? rmsNorm(part, norms.subarray(norm, norm + headDim), 1e-5) : part;
  const shape = { headDim, frequencies, magnitude: 1, layout };
  const newKeys = rope(normed(part(heads, kvHeads), headDim), positions, shape);
  const newValues = part(heads + kvHeads, kvHeads);
  const expected = [newKeys, newValues].map((added, i) => {
    const all = cache.slice();
    places.forEach(({ position, blockTable }, token) => {
      for (let head = 0; head < kvHeads; head++) {
        const from = (token * kvHeads + head) * headDim;
        const at = cacheIndex(blockTable, position, { head, kvHeads });
        const row = added.subarray(from, from + headDim);
        write(all, row, { at, columns: columns && i === 0 });
      }
    });
    return kv === "f16" ? roundF16(all) : all;
  });
  const queries = rope(normed(part(0, heads), 0), positions, shape).map((value, i) => {
    const position = positions[Math.floor(i / (heads * headDim))]!;
    return value * temperatureAt({ temperature }, position);
  });
  return [
    errorOf(new Float32Array(results[0]!), queries),
    errorOf(loaded(results[1]!, kv), expected[0]!),
    errorOf(loaded(results[2]!, kv), expected[1]!),
  ].reduce(maxError, 0);
}

/** Attention of tokens at these positions, each in a sequence of its own. */
export interface AttentionCase extends HeadShape {
  readonly kv: KvType;
  readonly positions: readonly number[];
  /** Number of tokens of the last sequence, from its position on; default 3, as in a prompt. */
  readonly last?: number;
  /** Number of positions that a token sees; earlier ones, and their blocks, contain NaN. */
  readonly window?: number;
}

/**
 * Returns the error of attention over caches with shuffled blocks, after queries and keys are
 * normalized, rotated and appended; in units of the largest value. With an f16 cache, heads are
 * neither normalized nor rotated, and the appended values are exact f16 numbers: rounding would
 * hide other errors.
 */
export async function attentionError(harness: KernelHarness, c: AttentionCase): Promise<number> {
  const { heads, kvHeads, headDim, kv, positions, last = 3, window } = c;
  const columns = harness.tuning.attention.by === "tiles";
  const rotates = kv === "f32";
  // Not 1/√headDim, so that ignoring the scale causes an error.
  const shape = {
    ...{ heads, kvHeads, headDim, scale: 0.8 / Math.sqrt(headDim) },
    ...(window !== undefined && { window }),
  };
  const random = new RandomSource(5);
  const runs = positions.map((position, i) =>
    [position, i === positions.length - 1 ? last : 1] as const
  );
  const sequences = shuffledSequences(runs, 64);
  const places = runs.flatMap(([start, count]) =>
    Array.from({ length: count }, (_, i) => start + i)
  );
  const width = (heads + 2 * kvHeads) * headDim;
  const made = floats(places.length * width, random);
  const qkv = kv === "f16" ? new Float32Array(roundF16(made)) : made;
  const norms = floats(2 * headDim, random);
  const ropeDims = rotates ? headDim / 2 : 0;
  const frequencies = Array.from({ length: ropeDims / 2 }, (_, i) => 100 ** (-2 * i / ropeDims));
  // Returns some heads of all tokens; `turned` normalizes and rotates them.
  const part = (first: number, count: number) =>
    Float32Array.from(places.flatMap((_, token) => {
      const at = token * width + first * headDim;
      return [...qkv.subarray(at, at + count * headDim)];
    }));
  const turned = (part: Float32Array, norm: number) => {
    if (!rotates) return part;
    const normed = rmsNorm(part, norms.subarray(norm, norm + headDim), 1e-5);
    return rope(normed, places, { headDim, frequencies, magnitude: 1, layout: "half" });
  };
  const q = turned(part(0, heads), 0);
  const added = [turned(part(heads, kvHeads), headDim), part(heads + kvHeads, kvHeads)];
  // Unused blocks and positions are NaN, so that reading them causes an error.
  const cacheSize = 64 * kvHeads * BLOCK_TOKENS * headDim;
  const caches = [0, 1].map(() => new Float32Array(cacheSize).fill(NaN));
  const row = kvHeads * headDim;
  let token = 0;
  const histories = sequences.map(({ start, tokens, blockTables }) => {
    const blockTable = blockTables[TABLE.group]!;
    const first = token;
    token += tokens!.length;
    const seen = Math.max(0, start + 1 - (window ?? Infinity));
    return caches.map((cache, which) => {
      const before = floats(start * row, random);
      for (let i = seen * kvHeads; i < start * kvHeads; i++) {
        const head = i % kvHeads;
        const at = cacheIndex(blockTable, Math.floor(i / kvHeads), { head, kvHeads });
        const own = before.subarray(i * headDim, (i + 1) * headDim);
        write(cache, own, { at, columns: columns && which === 0 });
      }
      const values = new Float32Array((start + tokens!.length) * row);
      values.set(kv === "f16" ? roundF16(before) : before);
      values.set(added[which]!.subarray(first * row, token * row), start * row);
      return values;
    });
  });
  harness.uploader.write(harness.scratch.qkv, 0, qkv);
  const [keys, values] = caches.map((cache) => harness.buffer(stored(cache, kv)));
  const [result] = await harness.run({ sequences }, (counts) => {
    const { angles, rope } = rotations({ ropeDims, frequencies, layout: "half", positions: 1024 });
    const layer = { ...shape, rope };
    const place = {
      cache: { keys: keys!, values: values!, table: TABLE },
      angles: harness.buffer(angles),
      norms: rotates ? harness.buffer(norms) : undefined,
    };
    const build = harness.build({ kv });
    return [build.ropeAppend(layer, place), ...build.attention(layer, place)].map((operation) =>
      operation.at(counts.tokens, counts.attentionParts)
    );
  }, [harness.scratch.attended]);

  token = 0;
  const expected = new Float32Array(q.length);
  sequences.forEach(({ start, tokens }, i) => {
    const from = token * heads * headDim;
    token += tokens!.length;
    const own = q.subarray(from, token * heads * headDim);
    const [k, v] = histories[i]!;
    const at = tokens!.map((_, j) => start + j);
    expected.set(attention({ q: own, positions: at, k: k!, v: v! }, shape), from);
  });
  return errorOf(new Float32Array(result!), expected);
}

// Returns a layer's RoPE options, and the cosine and sine of the angles of its first positions.
function rotations(
  { ropeDims, frequencies, layout, positions = 128 }: {
    readonly ropeDims: number;
    readonly frequencies: readonly number[];
    readonly layout: "interleaved" | "half";
    readonly positions?: number;
  },
) {
  const angles = new Float32Array(Math.max(2, positions * ropeDims));
  for (let i = 0; i < positions * ropeDims / 2; i++) {
    const angle = Math.floor(i / (ropeDims / 2)) * frequencies[i % (ropeDims / 2)]!;
    angles.set([Math.cos(angle), Math.sin(angle)], i * 2);
  }
  const rope = {
    base: 100,
    dims: ropeDims,
    layout,
    scaling: { kind: "none" },
    factors: false,
  } as const;
  return { angles, rope };
}

// Returns the largest difference in units of the largest expected number. Elements of `actual`
// beyond `expected` are ignored.
export function errorOf(actual: Float32Array, expected: Float32Array): number {
  const unit = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return expected.reduce((worst, v, i) => maxError(worst, Math.abs(actual[i]! - v) / unit), 0);
}

// Returns sequences for [start, count] pairs; their blocks are scattered over the cache.
function shuffledSequences(runs: readonly (readonly [number, number])[], blocks: number) {
  // The step and the number of blocks are coprime, so all blocks are reached.
  const step = blocks === 64 ? 27 : 7;
  let taken = 0;
  return runs.map(([start, count], slot): Batch["sequences"][0] => ({
    slot,
    start,
    tokens: Array.from({ length: count }, () => 0),
    // The entries of other groups are invalid block numbers.
    blockTables: Array.from({ length: TABLE.groups }, (_, group) =>
      Array.from(
        { length: Math.ceil((start + count) / BLOCK_TOKENS) },
        () => group === TABLE.group ? (5 + step * taken++) % blocks : 1e6,
      )),
  }));
}

// Returns the row of the cache, [blocks, kvHeads, BLOCK_TOKENS], for a head and position.
function cacheIndex(
  blockTable: readonly number[],
  position: number,
  { head, kvHeads }: { readonly head: number; readonly kvHeads: number },
): number {
  const block = blockTable[Math.floor(position / BLOCK_TOKENS)]!;
  return (block * kvHeads + head) * BLOCK_TOKENS + position % BLOCK_TOKENS;
}

// Writes a row of the cache; with `columns`, the rows of a block are interleaved in groups of eight
// elements.
function write(
  cache: Float32Array,
  row: Float32Array,
  { at, columns }: { readonly at: number; readonly columns: boolean },
): void {
  if (!columns) return cache.set(row, at * row.length);
  const inBlock = at % BLOCK_TOKENS;
  for (let i = 0; i < row.length; i += 8) {
    const start = (at - inBlock) * row.length + i * BLOCK_TOKENS + inBlock * 8;
    cache.set(row.subarray(i, i + 8), start);
  }
}

function stored(
  values: Float32Array<ArrayBuffer>,
  kv: KvType,
): Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  return kv === "f16" ? new Uint32Array(packF16(values)) : values;
}

function loaded(bytes: ArrayBuffer, kv: KvType): Float32Array {
  return kv === "f16" ? unpackF16(new Uint32Array(bytes)) : new Float32Array(bytes);
}
