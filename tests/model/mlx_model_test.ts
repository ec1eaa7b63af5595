/** Models that MLX has quantized, against what the float32 reference says. */

import assert from "node:assert/strict";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { MOST_LOGIT_ROWS } from "../../engine/run/runner.ts";
import { mlxName, TINY_MLX, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { compareWithGolden, readGolden } from "../assert.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { withFiles } from "../files/on_disk.ts";

for (const [i, model] of TINY_MLX.entries()) {
  const name = mlxName(model);
  const files = tinyMlx(model, 1 + i % 2);

  Deno.test(`CPU runner gives the golden's probabilities for ${name}`, async () => {
    const runner = withFiles(files, (directory) => {
      const file = openModelFile(directory);
      const { config, weights } = readModel(file);
      const runner = loadReferenceRunner(weights, config);
      file.close();
      return runner;
    });
    const golden = readGolden(name);
    const { meanKl, perplexityError } = compareWithGolden(
      golden,
      await logitsOf(runner, golden.ids),
    );
    assert.ok(meanKl <= 1e-5, `mean KL ${meanKl}`);
    assert.ok(perplexityError <= 2e-4, `perplexity off by ${perplexityError}`);
  });

  Deno.test(`GPU runner gives the golden's probabilities for ${name}`, async () => {
    const gpu = await openGpu();
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

for (const model of TINY_MLX) {
  Deno.test(`MlxTensors keeps ${mlxName(model)} packed and reads any whole rows alike`, () => {
    withFiles(tinyMlx(model), (directory) => {
      const [, bits, group] = model;
      const file = openModelFile(directory);
      const name = "model.layers.1.self_attn.q_proj";
      const tensor = file.tensors.get(`${name}.weight`)!;
      const type = group === 32 && bits === 4 ? "Q4_1" : `MLX${bits}_${group}`;
      const rows = tensor.shape[0]!;
      assert.deepEqual([tensor.type, tensor.shape], [type, [rows, 128]]);
      // The quants, and a scale and a bias in float16 for each group.
      assert.equal(tensor.byteLength, rows * 128 * (bits / 8 + 4 / group));
      assert.equal(file.tensors.has(`${name}.scales`), false);
      const own = [...file.tensors.values()].find(({ name }) =>
        /layers\.1\.mlp\..*down_proj\.weight$/.test(name)
      );
      assert.equal(own?.type, bits === 4 ? "MLX8_32" : "Q4_1");
      const whole = new Uint8Array(tensor.byteLength);
      file.read(tensor, 0, whole);
      const rowBytes = tensor.byteLength / rows;
      const some = new Uint8Array(3 * rowBytes);
      file.read(tensor, 5 * rowBytes, some);
      assert.deepEqual(some, whole.slice(5 * rowBytes, 8 * rowBytes));
      assert.throws(() => file.read(tensor, 2, some), RangeError);
      assert.throws(() => file.read(tensor, (rows - 2) * rowBytes, some), RangeError);
      file.close();
    });
  });
}

/** Opens a tiny model whose config.json's `quantization` was changed. */
function openQuantizedAs(quantization: Record<string, unknown>): void {
  const files = tinyMlx(TINY_MLX[0]);
  const config = JSON.parse(files["config.json"] as string);
  files["config.json"] = JSON.stringify({
    ...config,
    quantization: { ...config.quantization, ...quantization },
  });
  withFiles(files, (directory) => openModelFile(directory).close());
}

const FAULTS: Record<
  string,
  readonly [Record<string, unknown>, RegExp, typeof ModelFormatError | typeof UnsupportedError]
> = {
  "other bits": [{ bits: 3 }, /"bits":3.*4 or 8 bits/, UnsupportedError],
  "other groups": [{ group_size: 16 }, /"group_size":16/, UnsupportedError],
  "another mode": [{ mode: "mxfp4" }, /"mode":"mxfp4"/, UnsupportedError],
  "bits that are none": [{ bits: null }, /"bits":null/, UnsupportedError],
  "groups unlike the scales": [
    { group_size: 32 },
    /scales' has the shape 294 × 2, and for 4 bits in groups of 32 it is 294 × 4/,
    ModelFormatError,
  ],
};

for (const [name, [quantization, says, kind]] of Object.entries(FAULTS)) {
  Deno.test(`openModelFile() refuses of MLX: ${name}`, () => {
    assert.throws(() => openQuantizedAs(quantization), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, says);
      return true;
    });
  });
}
