/** Compiles some kernels with AMD's compiler, if it can be installed; `deno task isa` does all. */

import assert from "node:assert/strict";
import { CHIPS, figuresFor, NoDriverError } from "../../isa/driver.ts";
import { differences, type Figures, figuresTable } from "../../isa/report.ts";

const GOLDEN: Record<string, Record<string, Figures>> = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/goldens/isa.json", import.meta.url)),
);

/** Kernels that represent all others. */
const TESTED = [
  "matmul Q4_0, 1 token, norm",
  "matmul Q8_0, 1 token",
  "matmul Q4_K, 2 tokens",
  "matmul Q6_K, 8 tokens, norm",
  "matmul Q4_0, prompts",
  "attention f16, 128 wide, 4 × 1",
  "attention f32, 80 wide, 1 × 4",
  "attention f16, 256 wide, 4, decoding, norm",
  "attention_merge, 64 wide",
  "sample_pick",
];

for (const chip of CHIPS) {
  Deno.test(`kernels for ${chip} compile to the figures in the golden file`, async () => {
    const names = new Set(TESTED);
    let figures: ReadonlyMap<string, Figures>;
    try {
      figures = await figuresFor(chip, (name) => names.has(name));
    } catch (error) {
      if (!(error instanceof NoDriverError)) throw error;
      console.error(`skipping ${chip}: ${error.message}`);
      return;
    }
    assert.equal(figures.size, TESTED.length);
    const expected = Object.entries(GOLDEN[chip]!).filter(([name]) => names.has(name));
    assert.deepEqual(differences(figures, Object.fromEntries(expected)), [], figuresTable(figures));
  });
}
