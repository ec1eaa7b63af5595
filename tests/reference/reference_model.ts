/** The forward pass composed of the kernels' reference functions: slow, in float64, readable. */

import assert from "node:assert/strict";
import type { ModelFile } from "../../engine/files/model_file.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { ropeTable } from "../../engine/model/rope.ts";
import { ggufName, type LayerWeight } from "../../engine/model/weight_names.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import {
  attention,
  embed,
  gatedMul,
  matmul,
  type PackedMatrix,
  rmsNorm,
  rope,
} from "../../kernels/reference.ts";

/** Returns the logits after each of `ids`, which start a sequence. */
export function referenceLogits(
  file: ModelFile,
  config: ModelConfig,
  ids: readonly number[],
): Float32Array[] {
  const bytes = (name: string): Uint8Array => {
    const tensor = file.tensors.get(name)!;
    const into = new Uint8Array(tensor.byteLength);
    file.read(tensor, 0, into);
    return into;
  };
  const matrix = (name: string): PackedMatrix => {
    const { type, shape } = file.tensors.get(name)!;
    return { type, rows: shape[0]!, cols: shape[1]!, bytes: bytes(name) };
  };
  const vector = (name: string): Float32Array | undefined => {
    const tensor = file.tensors.get(name);
    if (tensor === undefined) return undefined;
    const out = new Float32Array(tensor.shape[0]!);
    dequantize(tensor.type, bytes(name), out);
    return out;
  };

  const { rmsEpsilon } = config;
  const positions = [...ids.keys()];
  const embedding = matrix(ggufName("embedding"));
  let hidden = embed(embedding, ids).map((v) => v * config.embeddingScale);
  for (const [layer, { mixer, feedForward, postNorms }] of config.layers.entries()) {
    assert.ok(mixer?.kind === "attention" && feedForward?.kind === "dense");
    const name = (weight: LayerWeight) => ggufName(weight, layer);
    const product = (weight: LayerWeight, x: Float32Array, bias?: LayerWeight) =>
      matmul(matrix(name(weight)), x, bias && vector(name(bias)));
    const normed = (x: Float32Array, norm: LayerWeight) =>
      rmsNorm(x, vector(name(norm))!, rmsEpsilon);
    const add = (x: Float32Array, norm: LayerWeight) => {
      const branch = postNorms ? normed(x, norm) : x;
      hidden = hidden.map((h, i) => h + branch[i]!);
    };
    const shape = {
      headDim: mixer.headDim,
      layout: mixer.rope.layout,
      ...ropeTable(mixer.rope, vector(ggufName("ropeFactors"))),
    };
    const placed = (x: Float32Array, norm: LayerWeight) =>
      rope(mixer.headNorm ? normed(x, norm) : x, positions, shape);
    const x = normed(hidden, "attentionNorm");
    const q = placed(product("query", x, "queryBias"), "queryNorm");
    const k = placed(product("key", x, "keyBias"), "keyNorm");
    const v = product("value", x, "valueBias");
    const attended = attention({ q, positions, k, v }, mixer);
    add(product("attentionOutput", attended), "attentionPostNorm");
    const y = normed(hidden, "ffnNorm");
    const gated = gatedMul(product("gate", y), product("up", y), feedForward.activation);
    add(product("down", gated), "ffnPostNorm");
  }
  const normed = rmsNorm(hidden, vector(ggufName("outputNorm"))!, rmsEpsilon);
  const output = config.tiedOutput ? embedding : matrix(ggufName("output"));
  const logits = matmul(output, normed);
  return positions.map((i) => logits.subarray(i * config.vocabSize, (i + 1) * config.vocabSize));
}
