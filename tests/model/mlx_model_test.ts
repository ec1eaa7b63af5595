/** Models that MLX has quantized: what is read of them, and what is refused. */

import assert from "node:assert/strict";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { mlxName, TINY_MLX, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { withFiles } from "../files/on_disk.ts";

for (const model of TINY_MLX) {
  Deno.test(`MlxTensors keeps ${mlxName(model)} packed and reads any whole rows alike`, () => {
    withFiles(tinyMlx(model), (directory) => {
      const [, bits, group] = model;
      const file = openModelFile(directory);
      const name = `model.layers.1.self_attn.${model[0] === "phi3" ? "qkv" : "q"}_proj`;
      const tensor = file.tensors.get(`${name}.weight`)!;
      const kept = bits <= 4 ? 4 : 8;
      const type = group === 32 && kept === 4 ? "Q4_1" : `MLX${kept}_${group}`;
      const rows = tensor.shape[0]!;
      assert.deepEqual([tensor.type, tensor.shape], [type, [rows, 128]]);
      // The quants, and a scale and a bias in float16 for each group.
      assert.equal(tensor.byteLength, rows * 128 * (kept / 8 + 4 / group));
      assert.equal(file.tensors.has(`${name}.scales`), false);
      const own = [...file.tensors.values()].find(({ name }) =>
        /layers\.1\.mlp\..*down_proj\.weight$/.test(name)
      );
      assert.equal(own?.type, [5, 8].includes(bits) ? "Q4_1" : "MLX8_32");
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
  "other bits": [{ bits: 2 }, /"bits":2.*3, 4, 5, 6 or 8 bits/, UnsupportedError],
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
