/** Llama's relatives on the GPU: a request's tokens do not depend on other requests. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { Engine } from "../../engine/run/engine.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { readGolden } from "../assert.ts";
import { withFile } from "../files/on_disk.ts";

/** Rounding may swap two tokens whose log-probabilities are closer than this. */
const NEAR = 0.05;

for (const architecture of ["smollm3", "granite", "mistral3", "phi3"] as const) {
  Deno.test(`${architecture} in F16 chooses the same tokens alone and in a batch on the GPU`, async () => {
    const runner = await withFile("m.gguf", tinyModel(architecture, "F16"), async (path) => {
      const file = openModelFile(path);
      try {
        const { config, weights } = readModel(file);
        return await GpuRunner.load(await openGpu(), { file: weights, config }, {
          contextLength: 128,
          blocks: [32],
        });
      } finally {
        file.close();
      }
    });
    const { ids } = readGolden(`tiny-${architecture}-f16`);
    const requests = [ids.slice(0, 17), ids.slice(3, 5), ids.slice(20)].map((promptIds) => ({
      promptIds,
      sampling: GREEDY,
      maxTokens: 24,
      stopIds: [],
      logprobs: 2,
    }));
    const engine = new Engine(runner, { prefixCacheBlocks: 0, maxBatchTokens: 16 });
    const answer = async (request: typeof requests[number]) => {
      const tokens = [];
      for await (const token of engine.submit(request)) tokens.push(token);
      return tokens;
    };
    const alone: Awaited<ReturnType<typeof answer>>[] = [];
    for (const request of requests) alone.push(await answer(request));
    const together = await Promise.all(requests.map(answer));
    await engine.stop();
    runner.destroy();
    for (const [i, tokens] of alone.entries()) {
      assert.equal(tokens.length, 24);
      const first = tokens.findIndex(({ id }, at) => id !== together[i]![at]!.id);
      if (first < 0) continue;
      const [best, second] = tokens[first]!.logprobs!.top;
      const gap = best!.logprob - second!.logprob;
      assert.ok(gap < NEAR, `request ${i}, token ${first}: the best two are ${gap} apart`);
    }
  });
}
