/** Models in MLX's quantized formats: how they are read, and what is refused. */

import assert from "node:assert/strict";
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { mlxName, TINY_MLX, tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { withFiles } from "../files/on_disk.ts";

for (const model of TINY_MLX) {
  Deno.test(`MlxTensors keeps ${mlxName(model)} packed and reads any range of whole rows`, () => {
    withFiles(tinyMlx(model), (directory) => {
      const [, bits, group] = model;
      const file = openModelFile(directory);
      const name = model[0].startsWith("nemotron")
        ? "backbone.layers.3.mixer.q_proj"
        : `model.layers.1.self_attn.${model[0] === "phi3" ? "qkv" : "q"}_proj`;
      const tensor = file.tensors.get(`${name}.weight`)!;
      const kept = bits <= 4 ? 4 : 8;
      const type = group === 32 && kept === 4 ? "Q4_1" : `MLX${kept}_${group}`;
      const rows = tensor.shape[0]!;
      assert.deepEqual([tensor.type, tensor.shape], [type, [rows, 128]]);
      // The quants, and a scale and a bias in float16 for each group.
      assert.equal(tensor.byteLength, rows * 128 * (kept / 8 + 4 / group));
      assert.equal(file.tensors.has(`${name}.scales`), false);
      const own = [...file.tensors.values()].find(({ name }) =>
        /layers\.1\.(mlp|mixer)\..*down_proj\.weight$/.test(name)
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

/** Opens a tiny model whose config.json has these changes of `quantization`. */
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
  "bits that are null": [{ bits: null }, /"bits":null/, UnsupportedError],
  "groups unlike the scales": [
    { group_size: 32 },
    /scales' has the shape 294 × 2; with 4 bits in groups of 32, its shape must be 294 × 4/,
    ModelFormatError,
  ],
};

for (const [name, [quantization, says, kind]] of Object.entries(FAULTS)) {
  Deno.test(`openModelFile() refuses an MLX model with ${name}`, () => {
    assert.throws(() => openQuantizedAs(quantization), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, says);
      return true;
    });
  });
}

const MATRIX = "model.layers.1.self_attn.q_proj";

/** Reads a matrix of a tiny model after `change` of its scales and biases, which are bfloat16. */
function readScaled(change: (scales: Uint16Array, biases: Uint16Array) => void): void {
  const files = tinyMlx(["qwen3", 4, 32, "BF16"]);
  const bytes = (files["model.safetensors"] as Uint8Array).slice();
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)));
  const [scales, biases] = ["scales", "biases"].map((part) => {
    const [begin, end] = header[`${MATRIX}.${part}`].data_offsets;
    return new Uint16Array(bytes.buffer, 8 + headerBytes + begin, (end - begin) / 2);
  });
  change(scales!, biases!);
  withFiles({ ...files, "model.safetensors": bytes }, (directory) => {
    const file = openModelFile(directory);
    try {
      const tensor = file.tensors.get(`${MATRIX}.weight`)!;
      file.read(tensor, 0, new Uint8Array(tensor.byteLength));
    } finally {
      file.close();
    }
  });
}

Deno.test("MlxTensors refuses scales that float16 cannot represent, unless they are negligible in their tensor", () => {
  const bfloat16 = (value: number) => new Uint32Array(new Float32Array([value]).buffer)[0]! >>> 16;
  readScaled(() => {});
  // MLX gives a group of zeros a scale of 1e-7.
  readScaled((scales, biases) => {
    scales[3] = bfloat16(1e-7);
    biases[3] = 0;
  });
  const refused = [
    [(scales, biases) => {
      scales.fill(bfloat16(1e-9));
      biases.fill(0);
    }, /'model\.layers\.1\.self_attn\.q_proj\.weight'/],
    [
      (scales) => scales[5] = bfloat16(1e6),
      /a group with scale 999424 and bias .* use the unquantized model$/,
    ],
    [(_, biases) => biases[5] = bfloat16(-1e6), /a group with scale .* and bias -999424, which/],
  ] satisfies [(scales: Uint16Array, biases: Uint16Array) => void, RegExp][];
  for (const [change, says] of refused) {
    assert.throws(
      () => readScaled(change),
      (error) => {
        assert.ok(error instanceof UnsupportedError);
        assert.match(error.message, says);
        return true;
      },
    );
  }
});
