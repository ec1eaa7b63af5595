import assert from "node:assert/strict";
import { modelEnvironment, modelMatrices } from "../../bench/environment.ts";
import { loadModel, openGguf } from "../../engine/mod.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

Deno.test("of routed experts a token reads those that it uses", async () => {
  const file = withFile("model.gguf", tinyModel("qwen3moe", "Q4_0"), openGguf);
  const model = await loadModel(file, { device: "cpu" });
  try {
    const { model: own } = modelEnvironment(model, undefined, { tvllm: "test", kvType: "f16" });
    // dim 128, 6 heads and 2 of keys of 16, two of eight experts of 64, 294 tokens, head = embedding.
    const projections = (96 + 32 + 32 + 96) * 128;
    const norms = 128 + 128 + 16 + 16;
    const layer = (experts: number) => projections + norms + 8 * 128 + experts * 3 * 64 * 128;
    assert.equal(own.parameters, 294 * 128 + 128 + 2 * layer(8));
    assert.equal(own.readWeights, 294 * 128 + 128 + 2 * layer(2));
    // In Q4_0, 18 bytes for 32 weights; norms and routers are F32.
    const plain = norms + 8 * 128;
    const packed = 294 * 128 + 2 * (layer(2) - plain);
    assert.equal(own.readBytes, packed / 32 * 18 + 4 * (128 + 2 * plain));
    const kernels = modelMatrices(model).map(({ kernel }) => kernel);
    assert.equal(kernels.filter((kernel) => kernel === "experts_q4_0").length, 2 * 2 * 3);
    assert.equal(kernels.filter((kernel) => kernel === "matmul_f32").length, 2);
  } finally {
    await model.close();
  }
});
