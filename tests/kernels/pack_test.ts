import assert from "node:assert/strict";
import { RandomSource, randomWeights } from "../../engine/files/random_weights.ts";
import { PackArena, packRows } from "../../kernels/pack.ts";

Deno.test("packRows() gives the same result from any address, and into reused memory", () => {
  for (const type of ["F16", "Q4_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K"] as const) {
    const arena = new PackArena();
    for (const rows of [8, 5]) { // Five rows do not fill their tile.
      const bytes = randomWeights(type, rows * 768, { random: new RandomSource(3), deviation: 1 });
      const shifted = new Uint8Array(bytes.length + 2).subarray(2);
      shifted.set(bytes);
      const size = { rows, columns: 768, tile: 1 };
      const expected = packRows(type, new Uint8Array(bytes), size);
      assert.deepEqual(packRows(type, shifted, { ...size, arena }), expected, `${type} ${rows}`);
    }
  }
});
