/** Compares the reference runner with the float32 reference in Python, for directories. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { withFiles } from "../files/on_disk.ts";
import { CHECKPOINTS } from "../model/checkpoints.ts";
import { logitsOf } from "./tiny_runner.ts";

for (const [name, files] of Object.entries(CHECKPOINTS)) {
  Deno.test(`Reference runner gives the golden's probabilities for ${name}`, async () => {
    const runner = withFiles(files, (directory) => {
      const file = openModelFile(directory);
      try {
        const { config, weights } = readModel(file);
        return loadReferenceRunner(weights, config);
      } finally {
        file.close();
      }
    });
    const golden = readGolden(name);
    const { meanKl, perplexityError } = compareWithGolden(
      golden,
      await logitsOf(runner, golden.ids),
    );
    assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
    assert.ok(perplexityError <= 2e-4, `perplexity off by ${perplexityError}`);
  });
}
