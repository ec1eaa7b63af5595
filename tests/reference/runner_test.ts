import assert from "node:assert/strict";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { ModelFormatError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { withMixers } from "../model/features.ts";
import { changed, logitsOf, runnerOf, sample, tinyRunner } from "./tiny_runner.ts";

Deno.test("loadReferenceRunner() derives its limits from the options and the context", () => {
  const runner = tinyRunner("llama", "Q8_0");
  assert.deepEqual(runner.limits, { blocks: [128], maxSequences: 8, maxBatchTokens: 128 });
  assert.equal(runner.device.kind, "cpu");
  assert.match(runner.device.description, /\w/);
  const limits = { blocks: [3], maxSequences: 2, maxBatchTokens: 5 };
  assert.deepEqual(tinyRunner("llama", "Q8_0", limits).limits, limits);
});

Deno.test("loadReferenceRunner() names a weight that the file lacks", () => {
  withFile("model.gguf", tinyModel("llama", "Q8_0"), (path) => {
    const file = openGguf(path);
    const whole = configFromGguf(file);
    const config = withMixers(whole, (mixer) => ({ ...mixer, bias: true }));
    assert.throws(() => loadReferenceRunner(file, config), (error) => {
      assert.ok(error instanceof ModelFormatError);
      assert.match(
        error.message,
        /^Cannot load .*model\.gguf: tensor 'blk\.0\.attn_q\.bias' is missing$/,
      );
      return true;
    });
    file.close();
  });
});

Deno.test("loadReferenceRunner() refuses weights that are not numbers, and names the first", () => {
  const file = changed(["token_embd.weight"], (w, i) => i === 5 * 96 + 7 ? NaN : w);
  assert.throws(() => runnerOf(file), (error) => {
    assert.ok(error instanceof ModelFormatError);
    assert.match(error.message, /tensor 'token_embd\.weight' has NaN or infinity at weight 487;/);
    return true;
  });
});

const OVERFLOWS: [string, () => Uint8Array][] = [
  // Values exceed the range of float16, so attention adds +∞ and −∞.
  ["not numbers", () => changed(["blk.0.attn_v.weight"], (w) => w * 1e30)],
  ["infinite", () => changed(["output_norm.weight"], () => 3e38)],
];
for (const [what, model] of OVERFLOWS) {
  Deno.test(`Reference runner reports every time that weights make logits ${what}`, async () => {
    const runner = runnerOf(model(), { kvType: "f16" });
    const sequence = { slot: 0, start: 0, blockTables: [[0]], sampling: GREEDY };
    for (const tokens of [[4, 5], [4, 6]]) {
      await assert.rejects(
        runner.submit({ sequences: [{ ...sequence, tokens }] }).read(),
        (error) => {
          assert.ok(error instanceof ModelFormatError);
          assert.match(
            error.message,
            /^Cannot run tiny llama: its logits are not finite numbers/,
          );
          return true;
        },
      );
    }
  });
}

Deno.test("Reference runner returns logits without the sampler's adjustments", async () => {
  const runner = tinyRunner("llama", "Q8_0");
  const ids = [3, 1, 4, 1, 5];
  const plain = (await logitsOf(runner, ids)).at(-1)!;
  const best = plain.indexOf(plain.reduce((a, b) => Math.max(a, b)));
  const sampling = { ...GREEDY, logitBias: new Map([[best, -Infinity]]) };
  const sequence = { slot: 0, tokens: ids, start: 0, blockTables: [[0]], sampling };
  const step = runner.submit({ sequences: [{ ...sequence, logits: "last" }] });
  const { tokens, logits } = await step.read();
  assert.deepEqual(logits[0]![0], plain);
  assert.notEqual(tokens[0]![0], best);
  assert.deepEqual(await sample(runner, { ...sequence, sampling: GREEDY }), [best]);
});
