/** A sequence's logits must not depend on chunks, block tables or other sequences in the batch. */

import assert from "node:assert/strict";
import { loadCpuRunner } from "../../engine/cpu/load_runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import type { Batch } from "../../engine/run/runner.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { readGolden } from "../assert.ts";
import { assertSameInBatch } from "../reference/same_in_batch.ts";
import { blocksFor, logitsOf, run } from "../reference/tiny_runner.ts";
import { withTiny } from "./cpu_runner.ts";

const IDS = readGolden("tiny-llama-q4_1").ids;

const CUT = [
  ["llama", "Q4_1"],
  ["qwen3", "Q4_K_M"],
  ["qwen3moe", "Q4_0"],
  ["qwen2", "F16"],
  ["smollm3", "F16"],
  ["granite", "Q4_0"],
  ["mistral3", "Q4_0"],
  ["phi3", "Q4_K_M"],
  ["qwen35moe", "Q4_0"],
  ["nemotron_h", "Q4_K_M"],
  ["nemotron_h_moe", "Q4_0"],
] as const;
for (const [architecture, format] of CUT) {
  Deno.test(`CpuRunner's logits are bit-identical for chunks of any size and 1 to 8 threads, ${architecture} ${format}`, async () => {
    const whole = await withTiny(
      [architecture, format],
      { threads: 1 },
      (runner) => logitsOf(runner, IDS),
    );
    for (const [threads, chunk] of [[1, 1], [2, 2], [3, 7], [5, 16], [8, 39]] as const) {
      await withTiny([architecture, format], { threads }, async (runner) => {
        assert.deepEqual(
          await logitsOf(runner, IDS, { chunk }),
          whole,
          `chunks of ${chunk} on ${threads} threads`,
        );
      });
    }
  });
}

Deno.test("CpuRunner's logits are bit-identical when attention takes several splits, in any work units", async () => {
  const ids = Array.from({ length: 600 }, (_, i) => (i * 31 + 7) % 200);
  const blocks = [Math.ceil(600 / 16)];
  await withTiny(["llama", "Q8_0"], { threads: 2, blocks }, async (runner) => {
    const whole = await logitsOf(runner, ids, { chunk: 100 });
    // If a token runs alone, each of its splits is a separate unit of work.
    const last = await run(runner, {
      slot: 0,
      tokens: ids.slice(-1),
      start: 599,
      blockTables: [blocksFor(600)],
      logits: "last",
    });
    assert.deepEqual(last[0], whole.at(-1));
  });
});

Deno.test("CpuRunner computes the same for a sequence in a batch as alone", async () => {
  await withTiny(["qwen2", "Q4_0"], { blocks: [16], threads: 2 }, async (runner) => {
    await assertSameInBatch(runner, IDS);
  });
});

Deno.test("CpuRunner copies blocks between steps, in order, and accepts block tables in any order", async () => {
  await withTiny(["qwen3", "F32"], { blocks: [8], threads: 2 }, async (runner) => {
    const expected = (await logitsOf(runner, IDS)).at(-1)!;
    const fork = { slot: 1, tokens: IDS.slice(32), start: 32, logits: "last" } as const;
    runner.copyBlocks([{ group: 0, from: 0, to: 6 }, { group: 0, from: 1, to: 4 }]);
    const other = runner.submit({
      sequences: [{ slot: 2, tokens: [1], start: 0, blockTables: [[0]] }],
    });
    assert.deepEqual((await run(runner, { ...fork, blockTables: [[6, 4, 2]] })).at(-1), expected);
    await other.read();
    assert.notDeepEqual(
      (await run(runner, { ...fork, blockTables: [[0, 4, 2]] })).at(-1),
      expected,
    );
  });
});

Deno.test("CpuRunner gives the same tokens when a step recreates weights or buffers", async () => {
  for (const [architecture, format] of [["qwen3moe", "Q4_0"], ["llama", "Q4_K_M"]] as const) {
    const path = Deno.makeTempFileSync({ suffix: ".gguf" });
    Deno.writeFileSync(path, tinyModel(architecture, format));
    const file = openGguf(path);
    const runner = await loadCpuRunner(file, configFromGguf(file), { threads: 2 });
    try {
      const { context: { memory, scratch }, model } = runner.stepper;
      const answer = async (anew: Batch["anew"], spoil: () => void) => {
        const ids: number[] = [];
        for (let step = 0; step < 6; step++) {
          const { tokens } = await runner.submit({
            sequences: [{
              slot: 0,
              tokens: step === 0 ? IDS.slice(0, 20) : null,
              start: step === 0 ? 0 : 19 + step,
              blockTables: [[0, 1]],
              sampling: GREEDY,
            }],
            ...(anew && { anew }),
          }).read();
          ids.push(...tokens[0]!);
          spoil();
        }
        return ids;
      };
      const expected = await answer(undefined, () => {});
      // Data that the next step recreates may be lost between two steps.
      const weights = await answer({ weights: true, buffers: false }, () => {
        memory.floats.fill(NaN, model.weights.embedding.address / 4, scratch.hidden / 4);
      });
      assert.deepEqual(weights, expected);
      await answer({ weights: true, buffers: false }, () => {});
      const buffers = await answer({ weights: false, buffers: true }, () => {
        memory.words.fill(-1, scratch.hidden / 4, (scratch.hidden + scratch.bytes) / 4);
      });
      assert.deepEqual(buffers, expected);
    } finally {
      runner.destroy();
      file.close();
      Deno.removeSync(path);
    }
  }
});
