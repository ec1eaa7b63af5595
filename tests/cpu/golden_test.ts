/** Compares the CPU backend with the goldens of the float32 reference in Python. */

import assert from "node:assert/strict";
import { PRODUCT_FORMS } from "../../kernels/wasm/products.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";
import { TINY_MODELS } from "../../fixtures/tiny_models.ts";
import { compareWithGolden, type Golden, readGolden } from "../assert.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { withRunnerOf, withTiny } from "./cpu_runner.ts";

async function assertLikeGolden(runner: ModelRunner, golden: Golden): Promise<void> {
  const logits = await logitsOf(runner, golden.ids, { chunk: runner.limits.maxBatchTokens });
  const { meanKl, perplexityError } = compareWithGolden(golden, logits);
  assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
  // With random weights, the f16 cache and 14-bit activations change it by about 1e-4.
  assert.ok(perplexityError <= 1e-3, `perplexity off by ${perplexityError}`);
}

for (const [architecture, format] of TINY_MODELS) {
  Deno.test(`CpuRunner gives the golden's probabilities for ${architecture} in ${format}`, async () => {
    const golden = readGolden(`tiny-${architecture}-${format.toLowerCase()}`);
    for (const kvType of ["f16", "f32"] as const) {
      await withTiny(
        [architecture, format],
        { kvType, threads: 2 },
        (runner) => assertLikeGolden(runner, golden),
      );
    }
  });
}

for (const form of PRODUCT_FORMS) {
  Deno.test(`CpuRunner gives the golden's probabilities with products in form ${form}`, async () => {
    for (const format of ["Q4_0", "Q8_0", "Q4_K_M"] as const) {
      await withTiny(
        ["qwen3", format],
        { form, threads: 1 },
        (runner) => assertLikeGolden(runner, readGolden(`tiny-qwen3-${format.toLowerCase()}`)),
      );
    }
  });
}

Deno.test({
  name: "CpuRunner gives the golden's probabilities for SmolLM2 135M in Q4_1, and timers still run",
  ignore: realModelMissing(),
  fn: () =>
    withRunnerOf(REAL_MODEL, {}, async (runner) => {
      let heard = 0;
      const timer = setInterval(() => heard++, 50);
      const started = performance.now();
      await assertLikeGolden(runner, readGolden("smollm2-135m-q4_1"));
      clearInterval(timer);
      const due = (performance.now() - started) / 50;
      assert.ok(heard >= due / 10, `${heard} of ${due} timers ran meanwhile`);
    }),
});
