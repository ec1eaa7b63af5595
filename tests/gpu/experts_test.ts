/** The kernels for routed experts, and batches of a model with experts. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import {
  combineError,
  type ExpertCase,
  expertsError,
  topKError,
} from "../../engine/gpu/self_test/experts.ts";
import type { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { readGolden } from "../assert.ts";
import { blocksFor } from "../reference/tiny_runner.ts";
import { withFile } from "../files/on_disk.ts";
import { openHarnesses } from "./kernel_harnesses.ts";

const { gpu, software, all } = await openHarnesses();

for (const [tuning, harness] of Object.entries(all)) {
  Deno.test(`top_k, ${tuning}: the largest logits, the first of equal ones, and their weights`, async () => {
    for (const [experts, slots] of [[8, 2], [128, 8], [7, 7], [60, 4], [1, 1]] as const) {
      for (const normalized of [true, false]) {
        for (const sigmoid of [undefined, { scale: 2.5 }]) {
          const routing = { experts, slots, normalized, sigmoid, tokens: 5 };
          const error = await topKError(harness, routing);
          assert.ok(error <= 2e-6, `${JSON.stringify(routing)}: ${error}`);
        }
      }
    }
  });

  Deno.test(`combine, ${tuning}: the weighted sum, alone or added`, async () => {
    for (const dim of [32, 96, 768]) {
      for (const add of [true, false]) {
        assert.ok(await combineError(harness, { dim, slots: 3, tokens: 5, add }) <= 1e-6);
      }
    }
  });
}

async function assertExperts(harness: KernelHarness, c: ExpertCase): Promise<void> {
  const error = await expertsError(harness, c);
  assert.ok(error <= 1e-6, `off by ${error}: ${JSON.stringify(c)}`);
}

const SHAPE = { experts: 6, slots: 3, rows: 64, columns: 256 };

for (const type of Object.keys(GROUP_LAYOUT) as TensorType[]) {
  Deno.test(`products with experts in ${type}: gates, ups, downs`, async () => {
    for (const tokens of [1, 7]) {
      await assertExperts(software, { ...SHAPE, type, tokens, gate: "both" });
      await assertExperts(software, { ...SHAPE, type, tokens, perSlot: true });
    }
  });
}

// How a type is read does not depend on the tuning, so these types represent all.
for (const type of ["F32", "Q4_0", "Q6_K"] as const) {
  Deno.test(`products with experts in ${type}: every tuning, and gates separate from ups`, async () => {
    for (const tokens of [1, 7]) {
      for (const harness of Object.values(all)) {
        await assertExperts(harness, { ...SHAPE, type, tokens, gate: "both" });
        await assertExperts(harness, { ...SHAPE, type, tokens, perSlot: true });
      }
      await assertExperts(software, { ...SHAPE, type, tokens, gate: "ups" });
    }
  });

  Deno.test(`products with experts in ${type}: a few experts per buffer`, async () => {
    for (const harness of Object.values(all)) {
      // Room for two experts' gates and ups, or for five matrices of one kind. The factors are the
      // bytes of quants per weight.
      const bytes = 5 * 64 * 256 * { F32: 4, Q4_0: 0.5, Q6_K: 0.75 }[type];
      const small = harness.with(harness.tuning, limitsOf(bytes));
      await assertExperts(small, { ...SHAPE, type, tokens: 5, gate: "both" });
      await assertExperts(small, { ...SHAPE, type, tokens: 5, perSlot: true });
    }
  });
}

// 17 tokens have enough slots for groups of eight, or of two on hardware; three do not.
for (const type of ["Q4_0", "Q6_K"] as const) {
  Deno.test(`products with experts in ${type}, slots sorted by expert`, async () => {
    for (const harness of Object.values(all)) {
      for (const tokens of [3, 17]) {
        const shape = { ...SHAPE, type, tokens, grouped: true };
        await assertExperts(harness, { ...shape, gate: "both" });
        await assertExperts(harness, { ...shape, perSlot: true });
      }
    }
    const small = software.with(software.tuning, limitsOf(100_000));
    await assertExperts(small, { ...SHAPE, type, tokens: 17, gate: "both", grouped: true });
  });
}

Deno.test("sorted slots: an expert that many tokens chose, and experts that none chose", async () => {
  for (const experts of [1, 2, 30]) {
    for (const harness of Object.values(all)) {
      const shape = { ...SHAPE, experts, type: "Q4_0" as const, slots: 1, grouped: true };
      for (const tokens of [61, 64]) await assertExperts(harness, { ...shape, tokens });
    }
  }
});

/** The adapter's limits, but with bindings of at most `bytes`. */
function limitsOf(bytes: number): GPUSupportedLimits {
  return {
    maxStorageBufferBindingSize: bytes,
    maxBufferSize: gpu.limits.maxBufferSize,
  } as GPUSupportedLimits;
}

Deno.test("sequences of a model with experts are bit-identical in a batch and alone", async () => {
  const runner = await withFile("moe.gguf", tinyModel("qwen3moe", "Q4_0"), (path) => {
    const file = openGguf(path);
    return GpuRunner.load(gpu, { file, config: configFromGguf(file) }, { contextLength: 64 })
      .finally(() => file.close());
  });
  const { ids } = readGolden("tiny-qwen3moe-q4_0");
  const sequences = [ids.slice(0, 9), ids.slice(9, 10), ids.slice(10, 24)].map((tokens, slot) => ({
    slot,
    start: 0,
    tokens,
    blockTables: [blocksFor(16, slot)],
    logits: "last" as const,
    sampling: GREEDY,
  }));
  const together = await runner.submit({ sequences }).read();
  for (const [i, sequence] of sequences.entries()) {
    const alone = await runner.submit({ sequences: [sequence] }).read();
    assert.deepEqual(together.logits[i], alone.logits[0]);
    assert.deepEqual(together.tokens[i], alone.tokens[0]);
  }
  assert.equal(gpu.failure, undefined);
  runner.destroy();
});
