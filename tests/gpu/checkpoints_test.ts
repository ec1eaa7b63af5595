/** Compares models from directories on the GPU with the goldens of the float32 reference. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { MOST_LOGIT_ROWS } from "../../engine/run/runner.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { withFiles } from "../files/on_disk.ts";
import { CHECKPOINTS } from "../model/checkpoints.ts";
import { logitsOf } from "../reference/tiny_runner.ts";

for (const [name, files] of Object.entries(CHECKPOINTS)) {
  Deno.test(`GPU runner gives the golden's probabilities for ${name}`, async () => {
    const gpu = await openGpu();
    // The files are opened before the directory is removed, and read afterwards.
    const runner = await withFiles(files, (directory) => {
      const file = openModelFile(directory);
      const { config, weights } = readModel(file);
      return GpuRunner.load(gpu, { file: weights, config }, { contextLength: 64 })
        .finally(() => file.close());
    });
    const golden = readGolden(name);
    const prefill = await logitsOf(runner, golden.ids, { chunk: MOST_LOGIT_ROWS });
    const decode = await logitsOf(runner, golden.ids, { chunk: 1 });
    runner.destroy();
    for (const logits of [prefill, decode]) {
      const { meanKl, perplexityError } = compareWithGolden(golden, logits);
      assert.ok(meanKl <= 1e-3, `mean KL ${meanKl}`);
      assert.ok(perplexityError <= 5e-3, `perplexity off by ${perplexityError}`);
    }
  });
}
