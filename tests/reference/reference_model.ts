/** The forward pass composed of the kernels' reference functions: slow, in float64, to be read. */

import type { ModelFile } from "../../engine/files/model_file.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import { ropeTable } from "../../engine/model/rope.ts";
import { ggufName, type LayerWeight } from "../../engine/model/weight_names.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import {
  attention,
  embed,
  matmul,
  type PackedMatrix,
  rmsNorm,
  rope,
  siluMul,
} from "../../kernels/reference.ts";

/** The logits after each of `ids`, which start a sequence. */
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

  const { headDim, ropeLayout, rmsEpsilon } = config;
  const positions = [...ids.keys()];
  const turns = {
    headDim,
    layout: ropeLayout,
    ...ropeTable(config, vector(ggufName("ropeFactors"))),
  };
  const embedding = matrix(ggufName("embedding"));
  let hidden = embed(embedding, ids);
  const add = (x: Float32Array) => hidden = hidden.map((h, i) => h + x[i]!);
  for (let layer = 0; layer < config.layers; layer++) {
    const name = (weight: LayerWeight) => ggufName(weight, layer);
    const product = (weight: LayerWeight, x: Float32Array, bias?: LayerWeight) =>
      matmul(matrix(name(weight)), x, bias && vector(name(bias)));
    const placed = (x: Float32Array, norm: LayerWeight) => {
      const weight = vector(name(norm));
      return rope(weight ? rmsNorm(x, weight, rmsEpsilon) : x, positions, turns);
    };
    const x = rmsNorm(hidden, vector(name("attentionNorm"))!, rmsEpsilon);
    const query = placed(product("query", x, "queryBias"), "queryNorm");
    const key = placed(product("key", x, "keyBias"), "keyNorm");
    const value = product("value", x, "valueBias");
    add(product("attentionOutput", attention(query, positions, key, value, config)));
    const y = rmsNorm(hidden, vector(name("ffnNorm"))!, rmsEpsilon);
    add(product("down", siluMul(product("gate", y), product("up", y))));
  }
  const normed = rmsNorm(hidden, vector(ggufName("outputNorm"))!, rmsEpsilon);
  const output = config.tiedOutput ? embedding : matrix(ggufName("output"));
  const logits = matmul(output, normed);
  return positions.map((i) => logits.subarray(i * config.vocabSize, (i + 1) * config.vocabSize));
}
