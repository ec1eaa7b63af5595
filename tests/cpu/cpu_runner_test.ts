import assert from "node:assert/strict";
import { loadCpuRunner } from "../../engine/cpu/cpu_runner.ts";
import { ModelFormatError } from "../../engine/errors.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { configFromGguf } from "../../engine/models/gguf_config.ts";
import { ggufBytes, tinyModel, tinyParts } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";
import { GREEDY, logitsOf, runnerOf, sample, tinyRunner } from "./tiny_runner.ts";

Deno.test("loadCpuRunner() takes its sizes from the options and the context", () => {
  const runner = tinyRunner("llama", "Q8_0");
  assert.deepEqual(runner.limits, { blocks: 128, maxSequences: 8, maxBatchTokens: 128 });
  assert.equal(runner.device.kind, "cpu");
  assert.match(runner.device.description, /\w/);
  const limits = { blocks: 3, maxSequences: 2, maxBatchTokens: 5 };
  assert.deepEqual(tinyRunner("llama", "Q8_0", limits).limits, limits);
});

Deno.test("loadCpuRunner() names a weight that the file lacks", () => {
  withFile("model.gguf", tinyModel("llama", "Q8_0"), (path) => {
    const file = openGguf(path);
    const config = { ...configFromGguf(file), qkvBias: true };
    assert.throws(() => loadCpuRunner(file, config), (error) => {
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

Deno.test("CPU runner says so when weights make logits that are not numbers, and goes on", async () => {
  const parts = tinyParts("llama", "F32");
  const at = parts.tensors.findIndex(({ name }) => name === "token_embd.weight");
  const embedding = parts.tensors[at]!;
  const [bytes] = [...embedding.data()];
  new Float32Array(bytes!.buffer, bytes!.byteOffset)[5 * 96 + 7] = NaN;
  parts.tensors[at] = { ...embedding, data: () => [bytes!] };
  const runner = runnerOf(ggufBytes(parts));
  const sequence = { slot: 0, start: 0, blockTable: [0], sampling: GREEDY };
  const bad = runner.submit({ sequences: [{ ...sequence, tokens: [4, 5] }] });
  const good = runner.submit({ sequences: [{ ...sequence, tokens: [4, 6] }] });
  await assert.rejects(bad.read(), (error) => {
    assert.ok(error instanceof ModelFormatError);
    assert.match(error.message, /^Cannot run tiny llama: it gives logits that are not numbers/);
    return true;
  });
  assert.equal((await good.read()).tokens[0]!.length, 1);
});

Deno.test("CPU runner returns the model's own logits, whatever the sampler does to them", async () => {
  const runner = tinyRunner("llama", "Q8_0");
  const ids = [3, 1, 4, 1, 5];
  const plain = (await logitsOf(runner, ids)).at(-1)!;
  const best = plain.indexOf(plain.reduce((a, b) => Math.max(a, b)));
  const sampling = { ...GREEDY, logitBias: new Map([[best, -Infinity]]) };
  const sequence = { slot: 0, tokens: ids, start: 0, blockTable: [0], sampling };
  const step = runner.submit({ sequences: [{ ...sequence, logits: "last" }] });
  const { tokens, logits } = await step.read();
  assert.deepEqual(logits[0]![0], plain);
  assert.notEqual(tokens[0]![0], best);
  assert.deepEqual(await sample(runner, { ...sequence, sampling: GREEDY }), [best]);
});
