/** Compares whole models on the GPU with the goldens of the float32 reference in Python. */

import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import {
  TINY_MODELS,
  type TinyArchitecture,
  type TinyFormat,
  tinyModel,
} from "../../fixtures/tiny_models.ts";
import { assertAllClose, compareWithGolden, readGolden } from "../assert.ts";
import { GREEDY, MOST_LOGIT_ROWS } from "../../engine/run/runner.ts";
import { blocksFor, logitsOf, runnerOf } from "../reference/tiny_runner.ts";
import { unevenModel } from "../model/layer_sizes.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";

async function gpuRunner(path: string, contextLength: number, tuning?: Tuning): Promise<GpuRunner> {
  const gpu = await openGpu();
  const file = openGguf(path);
  try {
    const { config, weights } = readModel(file);
    return await GpuRunner.load(gpu, { file: weights, config }, {
      contextLength,
      ...(tuning && { tuning }),
    });
  } finally {
    file.close();
  }
}

async function tinyGpuRunner(
  architecture: TinyArchitecture,
  format: TinyFormat,
): Promise<GpuRunner> {
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  await Deno.writeFile(path, tinyModel(architecture, format));
  try {
    return await gpuRunner(path, 256);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("GPU runner gives the reference's logits for layers of different sizes", async () => {
  const ids = Array.from({ length: 40 }, (_, i) => (i * 31 + 7) % 200);
  const expected = await logitsOf(runnerOf(unevenModel()), ids);
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  await Deno.writeFile(path, unevenModel());
  const runner = await gpuRunner(path, 256);
  try {
    for (const [i, row] of (await logitsOf(runner, ids, { chunk: 7 })).entries()) {
      // The KV cache is float16.
      assertAllClose(row, expected[i]!, { absolute: 1e-2 });
    }
  } finally {
    runner.destroy();
    await Deno.remove(path);
  }
});

for (const [architecture, format] of TINY_MODELS) {
  Deno.test(`GPU runner gives the golden's probabilities for ${architecture} in ${format}`, async () => {
    const runner = await tinyGpuRunner(architecture, format);
    const golden = readGolden(`tiny-${architecture}-${format.toLowerCase()}`);
    const { ids } = golden;
    const rows = await logitsOf(runner, ids, { chunk: MOST_LOGIT_ROWS });
    const { meanKl, perplexityError } = compareWithGolden(golden, rows);
    // The f16 cache alone adds about 1e-7 of KL; a format may add up to 1e-3.
    assert.ok(meanKl <= 1e-4, `mean KL ${meanKl}`);
    assert.ok(perplexityError <= 5e-3, `perplexity off by ${perplexityError}`);
    // One token at a time, for which other kernels are used.
    const steps = await logitsOf(runner, ids.slice(0, 20), { chunk: 1, slot: 1 });
    for (const [i, row] of steps.entries()) assertAllClose(row, rows[i]!, { absolute: 1e-3 });
    runner.destroy();
  });
}

for (const architecture of ["llama", "qwen35", "nemotron_h_moe"] as const) {
  Deno.test(`two sequences of ${architecture} are bit-identical in a batch and alone`, () =>
    assertAlike(architecture));
}

async function assertAlike(architecture: TinyArchitecture): Promise<void> {
  const runner = await tinyGpuRunner(architecture, "Q4_K_M");
  const { ids } = readGolden(`tiny-${architecture}-q4_k_m`);
  const prompts = [ids.slice(0, 9), ids.slice(9, 14)];
  const tables = [blocksFor(16), blocksFor(16, 4)];
  const sequenceOf = (slot: number) => ({
    slot,
    start: 0,
    tokens: prompts[slot]!,
    blockTables: [tables[slot]!],
    logits: "last" as const,
    sampling: { ...GREEDY, temperature: 1, seed: 5 + slot },
  });
  const alone = [];
  for (const slot of [0, 1]) {
    alone.push(await runner.submit({ sequences: [sequenceOf(slot)] }).read());
  }
  const together = await runner.submit({ sequences: [sequenceOf(0), sequenceOf(1)] }).read();
  for (const slot of [0, 1]) {
    assert.deepEqual(together.logits[slot], alone[slot]!.logits[0]);
    assert.deepEqual(together.tokens[slot], alone[slot]!.tokens[0]);
  }
  runner.destroy();
}

const HARDWARE = tuningFor("hardware");
const TUNINGS: Readonly<Record<string, Tuning>> = {
  software: tuningFor("software"),
  hardware: HARDWARE,
  // Tested with steps of up to eight tokens; longer ones use the same kernels as above.
  "bytes multiplied": {
    ...HARDWARE,
    matmul: { by: "lanes", split: 32, tilesFrom: 17, activations: "int8" },
  },
};
for (const [name, tuning] of Object.entries(TUNINGS)) {
  Deno.test({
    name: `GPU runner gives the golden's probabilities for SmolLM2 135M in Q4_1, ${name}`,
    ignore: realModelMissing(),
    fn: async () => {
      const golden = readGolden("smollm2-135m-q4_1");
      const runner = await gpuRunner(REAL_MODEL, 1024, tuning);
      const chunk = name === "bytes multiplied" ? 8 : MOST_LOGIT_ROWS;
      const rows = await logitsOf(runner, golden.ids, { chunk });
      const { meanKl, perplexityError } = compareWithGolden(golden, rows);
      assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
      assert.ok(perplexityError <= 2e-4, `perplexity off by ${perplexityError}`);
      // One token at a time, for which other kernels are used. If they differ in the last bit, the
      // f16 cache may round keys and values to the other neighbour, which changes logits of about
      // 10 by some thousandths.
      const steps = await logitsOf(runner, golden.ids.slice(0, 12), { chunk: 1, slot: 1 });
      for (const [i, row] of steps.entries()) assertAllClose(row, rows[i]!, { absolute: 1e-2 });
      runner.destroy();
    },
  });
}
