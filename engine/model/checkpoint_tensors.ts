/** A checkpoint's tensors as the engine asks for them: under GGUF's names, norms as GGUF has them. */

import { dequantize } from "../../kernels/dequantize.ts";
import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";
import { architectureOf } from "./architectures/mod.ts";
import type { ModelConfig } from "./config.ts";
import { expectedWeights } from "./expected_weights.ts";

/**
 * The same file with its tensors under GGUF's names. Weights of norms that the checkpoint stores less
 * an offset (`hfNormOffset`) read as float32 with it added.
 */
export function underGgufNames(file: ModelFile, config: ModelConfig): ModelFile {
  const { hfNormOffset = 0 } = architectureOf(config);
  const tensors = new Map<string, TensorInfo>();
  const stored = new Map<TensorInfo, TensorInfo>();
  for (const { name, hf, shape } of expectedWeights(config)) {
    const tensor = file.tensors.get(hf)!;
    if (hfNormOffset === 0 || !name.endsWith("norm.weight")) {
      tensors.set(name, tensor);
      continue;
    }
    const shifted = { ...tensor, type: "F32", byteLength: 4 * shape[0]! } as const;
    tensors.set(name, shifted);
    stored.set(shifted, tensor);
  }
  return withTensors(file, tensors, (tensor, offset, into) => {
    const vector = stored.get(tensor);
    if (vector === undefined) return file.read(tensor, offset, into);
    const bytes = new Uint8Array(vector.byteLength);
    file.read(vector, 0, bytes);
    const values = new Float32Array(vector.shape[0]!);
    dequantize(vector.type, bytes, values);
    const moved = new Uint8Array(values.map((value) => value + hfNormOffset).buffer);
    into.set(moved.subarray(offset, offset + into.length));
  });
}
