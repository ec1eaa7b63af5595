import assert from "node:assert/strict";
import fc from "fast-check";
import { BpeModel, MergeReader, MergeTable } from "../../engine/text/bpe.ts";

/** BPE by definition: merges the leftmost pair of the lowest rank until no pair can merge. */
function mergeByDefinition(
  word: string,
  ids: ReadonlyMap<string, number>,
  ranks: ReadonlyMap<string, number>,
): number[] {
  const parts = Array.from(word);
  for (;;) {
    let best = -1;
    let lowest = Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      if (rank < lowest) [best, lowest] = [i, rank];
    }
    if (best < 0) return parts.map((part) => ids.get(part)!);
    parts.splice(best, 2, parts[best]! + parts[best + 1]!);
  }
}

/** Vocabularies over a, b and c, with merges and their ranks. Ranks may be equal. */
const vocabularies = fc.array(
  fc.tuple(fc.nat(), fc.nat(), fc.nat({ max: 12 })),
  { maxLength: 24 },
).map((choices) => {
  const pieces = ["a", "b", "c"];
  const merges: { first: string; second: string; rank: number }[] = [];
  for (const [left, right, rank] of choices) {
    const first = pieces[left % pieces.length]!;
    const second = pieces[right % pieces.length]!;
    if (merges.some((merge) => merge.first === first && merge.second === second)) continue;
    merges.push({ first, second, rank });
    if (!pieces.includes(first + second)) pieces.push(first + second);
  }
  return { ids: new Map(pieces.map((piece, id) => [piece, id])), merges };
});

Deno.test("BpeModel.encode() merges according to the definition", () => {
  const words = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 40 });
  fc.assert(
    fc.property(vocabularies, words, ({ ids, merges }, word) => {
      const table = new MergeTable(merges.length);
      const reader = new MergeReader(ids, [...ids.keys()]);
      for (const { first, second, rank } of merges) {
        table.add(reader.read(first, second), rank);
      }
      const model = new BpeModel(ids, table, { ignoreMerges: false });
      const ranks = new Map(merges.map(({ first, second, rank }) => [`${first} ${second}`, rank]));
      const expected = mergeByDefinition(word, ids, ranks);
      // Encode twice; the second result comes from the cache.
      for (let i = 0; i < 2; i++) {
        const found: number[] = [];
        model.encode([word], found);
        assert.deepEqual(found, expected);
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});

Deno.test("MergeTable.find() finds added merges, and the first of two equal ones", () => {
  const table = new MergeTable(3000);
  for (let i = 0; i < 3000; i++) table.add([i % 61, i, i + 1], i);
  table.add([5 % 61, 5, 999], 999);
  for (let i = 0; i < 3000; i++) {
    const slot = table.find(i % 61, i);
    assert.deepEqual([table.rank(slot), table.result(slot)], [i, i + 1]);
  }
  assert.equal(table.find(1, 0), -1);
  assert.equal(table.find(-1, 5), -1);
});

Deno.test("BpeModel.encode() omits characters without a token, and tries whole words first", () => {
  const ids = new Map([["a", 0], ["b", 1], ["ab", 2], ["abc", 3]]);
  const table = MergeTable.inOrder(Int32Array.of(0, 1, 2), () => true);
  const encode = (word: string, ignoreMerges: boolean) => {
    const into: number[] = [];
    new BpeModel(ids, table, { ignoreMerges }).encode([word], into);
    return into;
  };
  assert.deepEqual(encode("abc", false), [2]);
  assert.deepEqual(encode("abc", true), [3]);
  assert.deepEqual(encode("?", true), []);
});
