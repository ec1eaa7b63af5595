/** The seeded models have the same bytes on every machine, and weights of the given deviation. */

import assert from "node:assert/strict";
import { basename } from "node:path";
import { openGguf } from "../../engine/files/gguf.ts";
import { ggufPieces } from "../../engine/files/gguf_writer.ts";
import { RandomSource, randomWeights } from "../../engine/files/random_weights.ts";
import { configFromGguf } from "../../engine/model/gguf_config.ts";
import { TINY_MODELS, tinyModel, writeTinyModel } from "../../fixtures/tiny_models.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { readGolden } from "../assert.ts";
import { withFiles } from "./on_disk.ts";

Deno.test("tinyModel() reproduces the committed model byte for byte", () => {
  const committed = new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url);
  assert.deepEqual(tinyModel("llama", "Q8_0"), Deno.readFileSync(committed));
});

Deno.test("tinyModel() makes valid models of every architecture and format, and each has a golden", () => {
  withFiles({}, (directory) => {
    for (const [architecture, format] of TINY_MODELS) {
      const path = writeTinyModel(directory, architecture, format);
      const file = openGguf(path);
      const config = configFromGguf(file);
      assert.equal(config.architecture, architecture);
      assert.equal(config.contextLength, 2048);
      const types = new Set([...file.tensors.values()].map(({ type }) => type));
      const expected = format === "Q4_K_M" ? ["Q4_K", "Q6_K"] : [format];
      assert.deepEqual([...types].sort(), [...new Set([...expected, "F32"])].sort());
      file.close();
      const golden = readGolden(basename(path, ".gguf"));
      assert.equal(golden.positions.length, golden.ids.length);
      assert.ok(golden.ids.every((id) => id < config.vocabSize));
    }
  });
});

for (const type of Object.keys(GROUP_LAYOUT) as TensorType[]) {
  Deno.test(`randomWeights() makes ${type} weights with mean 0 and the given deviation`, () => {
    const count = 256 * 400;
    const weights = new Float32Array(count);
    dequantize(
      type,
      randomWeights(type, count, { random: new RandomSource(3), deviation: 0.05 }),
      weights,
    );
    const mean = weights.reduce((sum, w) => sum + w, 0) / count;
    const deviation = Math.sqrt(weights.reduce((sum, w) => sum + (w - mean) ** 2, 0) / count);
    assert.ok(Math.abs(mean) < 0.002, `mean ${mean}`);
    assert.ok(Math.abs(deviation / 0.05 - 1) < 0.05, `deviation ${deviation}`);
  });
}

Deno.test("randomWeights() depends on seed and name, and applies a mean to vectors", () => {
  const make = (seed: number, name: string) =>
    randomWeights("F32", 64, { random: new RandomSource(seed, name), deviation: 0.1, mean: 1 });
  assert.deepEqual(make(1, "a"), make(1, "a"));
  assert.notDeepEqual(make(1, "a"), make(2, "a"));
  assert.notDeepEqual(make(1, "a"), make(1, "b"));
  const weights = new Float32Array(make(1, "a").buffer);
  assert.ok(weights.every((w) => w > 0.7 && w < 1.3));
  const drawn = { random: new RandomSource(1), deviation: 0.1 };
  assert.throws(() => randomWeights("Q8_0", 64, { ...drawn, mean: 1 }), RangeError);
  assert.throws(() => randomWeights("Q4_K", 64, drawn), RangeError);
});

Deno.test("ggufPieces() refuses data whose length does not match the shape", () => {
  const tensor = { name: "x", type: "F32", shape: [3], data: () => [new Uint8Array(8)] } as const;
  assert.throws(() => [...ggufPieces(new Map(), [tensor])], {
    name: "RangeError",
    message: "Cannot write tensor 'x': got 8 bytes, but its shape requires 12",
  });
});
