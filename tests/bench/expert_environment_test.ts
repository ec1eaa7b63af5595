/** In a model with experts, a token reads only those it is routed to, in every file format. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { modelEnvironment, modelMatrices } from "../../bench/targets/environment.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { loadModel, type Model } from "../../engine/mod.ts";
import type { ModelRunner } from "../../engine/run/runner.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { PROGRAM } from "./scripted_target.ts";
import { withFile, withFiles } from "../files/on_disk.ts";

const load = (path: string) =>
  loadModel(openModelFile(path), { device: "cpu", contextLength: 64, maxSequences: 1 });

async function assertReads(model: Model, type: string, others: number): Promise<void> {
  const { tensorBytes, readBytes, parameters, readWeights } =
    modelEnvironment(model, undefined, PROGRAM).model;
  // As on a GPU, where the kernels for experts have names of their own.
  const { file, config } = model;
  const runner = { device: { kind: "gpu" } } as ModelRunner;
  const matrices = modelMatrices({ file, config, runner } as Model);
  // Two layers with three matrices for each of the two experts, of eight, that a token uses.
  const experts = matrices.filter(({ kernel }) => kernel === `experts_${type}`);
  assert.equal(experts.length, 2 * 3 * 2);
  assert.ok(experts.every(({ rows, columns }) => rows * columns === 64 * 128));
  const used = experts.reduce((sum, { bytes }) => sum + bytes, 0);
  assert.equal(tensorBytes - readBytes, 3 * used);
  assert.equal(parameters - readWeights, 3 * 12 * 64 * 128);
  assert.equal(matrices.length - experts.length, others);
  await model.close();
}

Deno.test("only a token's experts are counted, in GGUF and as separate tensors", async () => {
  // Per layer four matrices of attention and a router, and the embedding, which is also the head.
  const others = 2 * 5 + 1;
  const gguf = await withFile("moe.gguf", tinyModel("qwen3moe", "Q4_0"), load);
  await assertReads(gguf, "q4_0", others);
  const files = tinySafetensors("qwen3moe", "BF16");
  const one = await withFiles(files, (directory) => load(join(directory, "config.json")));
  await assertReads(one, "bf16", others);
});
