/** Compares every variant that a tuning can choose with the reference. */

import assert from "node:assert/strict";
import { checkKernels } from "../../engine/gpu/self_test/self_test.ts";
import { tuningFor } from "../../kernels/tuning.ts";
import { TUNED_FAMILIES, type TunedFamily, tuningVariants } from "../../kernels/tuning_variants.ts";
import { openHarnesses } from "./kernel_harnesses.ts";

/** Kernels that represent a family: its variants treat all formats alike. */
const KERNELS: Readonly<Record<TunedFamily, readonly string[]>> = {
  products: ["matmul Q4_0", "matmul F16", "experts"],
  prompts: ["matmul Q4_0"],
  attention: ["attention f16", "attention f32"],
  elements: ["embed Q4_0", "rope_append f16", "norm_add", "combine", "gates"],
  sampling: ["sampling"],
  steps: [],
};

const { all } = await openHarnesses();

for (const driver of ["software", "hardware"] as const) {
  const harness = all[driver];
  if (harness === undefined) continue;
  const usual = JSON.stringify(tuningFor(driver));
  for (const family of TUNED_FAMILIES) {
    if (KERNELS[family].length === 0) continue;
    for (const [name, change] of tuningVariants(driver)[family]) {
      const tuning = change(tuningFor(driver));
      // kernels_test.ts tests the default tuning.
      if (JSON.stringify(tuning) === usual) continue;
      Deno.test(`${family} of ${driver}, ${name}: matches the reference`, async () => {
        const seen: string[] = [];
        const checks = checkKernels(harness.with(tuning), {
          select: (kernel) => KERNELS[family].includes(kernel),
          // Few counts, around the limits from which tiles may be used, because a software driver
          // takes long to compile tiles.
          tokens: family === "prompts" ? [9, 16, 20, 40] : [2, 8],
        });
        for await (const { name, passed, error, message } of checks) {
          assert.ok(passed, `${name}: ${message ?? error}`);
          seen.push(name);
        }
        assert.deepEqual(seen.sort(), [...KERNELS[family]].sort());
      });
    }
  }
}
