/** Checks the GPU's greedy text of a real model with the reference runner, token by token. */

import assert from "node:assert/strict";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { loadModel, openGguf } from "../../mod.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { logSoftmax } from "../assert.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { blocksFor, run } from "../reference/tiny_runner.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";

const PROMPTS = [
  "What is the capital of France?",
  "Write two sentences about the sea.",
  "List three uses of a rope.",
];
const TOKENS = 48;
/** Rounding may swap two tokens whose log-probabilities are closer than this. */
const NEAR = 0.05;

Deno.test({
  name: "SmolLM2 135M chooses the reference's tokens on the GPU, except for near-ties",
  ignore: realModelMissing(),
  fn: async () => {
    const model = await loadModel(openGguf(REAL_MODEL), { device: "gpu", contextLength: 512 });
    const prompts = PROMPTS.map((content) => model.encodePrompt(content).ids);
    const answers = await model.engine.generate(
      prompts.map((promptIds) => ({
        promptIds,
        sampling: GREEDY,
        maxTokens: TOKENS,
        stopIds: [...model.tokenizer.eosIds],
      })),
    );
    await model.close();

    const file = openGguf(REAL_MODEL);
    const cpu = loadReferenceRunner(file, configFromGguf(file));
    file.close();
    for (const [i, { ids }] of answers.entries()) {
      assert.ok(ids.length >= 5, `${ids.length} tokens`);
      const prompt = prompts[i]!;
      // One pass over prompt and answer shows what the reference would choose after each token.
      const before = prompt.length - 1;
      const blockTables = [blocksFor(prompt.length + TOKENS)];
      const context = { slot: 0, blockTables };
      await run(cpu, { ...context, tokens: prompt.slice(0, before), start: 0 });
      const tokens = [prompt[before]!, ...ids.slice(0, -1)];
      const rows = await run(cpu, { ...context, tokens, start: before, logits: "all" });
      for (const [at, id] of ids.entries()) {
        const logprobs = logSoftmax(rows[at]!);
        const best = logprobs.indexOf(Math.max(...logprobs));
        if (best === id) continue;
        const gap = logprobs[best]! - logprobs[id]!;
        console.log(`prompt ${i}, token ${at}: GPU ${id}, CPU ${best}, ${gap} apart`);
        assert.ok(gap < NEAR, `token ${at} of '${PROMPTS[i]}' is ${gap} from the best`);
      }
    }
  },
});
