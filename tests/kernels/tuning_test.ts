/** Tunings: the defaults for each vendor, and the variants that `tvllm tune` measures. */

import assert from "node:assert/strict";
import { defaultTuning, type Tuning } from "../../kernels/tuning.ts";
import { chosenTuning, TUNED_FAMILIES, tuningVariants } from "../../kernels/tuning_variants.ts";

const ADAPTERS = [
  ["software", "65541", "llvmpipe (LLVM 15.0.6, 256 bits)", "software drivers"],
  ["hardware", "4098", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "AMD"],
  ["hardware", "4318", "NVIDIA H200", "NVIDIA"],
  ["hardware", "32902", "Intel(R) Arc(tm) A770 Graphics (DG2)", "Intel"],
  // Metal names no vendor.
  ["hardware", "0", "Apple M2 Pro", "Apple"],
  ["hardware", "", "A new GPU", "unknown GPUs"],
] as const;

Deno.test("defaultTuning() recognizes vendors by their id or their name", () => {
  for (const [driver, vendor, description, owner] of ADAPTERS) {
    assert.equal(defaultTuning({ driver, vendor, description }).owner, owner);
  }
});

Deno.test("the variants of each family include every vendor's defaults", () => {
  for (const [driver, vendor, description] of ADAPTERS) {
    const { tuning } = defaultTuning({ driver, vendor, description });
    for (const family of TUNED_FAMILIES) {
      const all = [...tuningVariants(driver)[family].values()].map((change) => change(tuning));
      if (all.length === 0) continue;
      const texts = all.map((one) => JSON.stringify(one));
      assert.equal(new Set(texts).size, all.length, family);
      assert.ok(texts.includes(JSON.stringify(tuning)), `${family} for ${description}`);
    }
  }
});

Deno.test("chosenTuning() applies the choices, and refuses unknown ones", () => {
  const { tuning } = defaultTuning({ driver: "hardware", vendor: "4318", description: "" });
  const expected: Tuning = {
    ...tuning,
    matmul: { by: "lanes", split: 16, tilesFrom: 33, activations: "int8" },
    attention: { by: "tiles", parts: 256 },
    steps: 8,
  };
  const choices = {
    products: "16 lanes, int8 activations",
    prompts: "tiles from 33 tokens",
    attention: "256 parts",
    steps: "8 steps",
  };
  assert.deepEqual(chosenTuning(tuning, "hardware", choices), expected);
  assert.deepEqual(chosenTuning(tuning, "hardware", {}), tuning);
  for (const name of ["8 rows", "toString", ""]) {
    assert.throws(() => chosenTuning(tuning, "hardware", { products: name }), RangeError);
  }
});
