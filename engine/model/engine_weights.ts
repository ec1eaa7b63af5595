/** Presents a file's tensors with the engine's names, and with vectors converted to GGUF's form. */

import { dequantize } from "../../kernels/dequantize.ts";
import { type ModelFile, type TensorInfo, withTensors } from "../files/model_file.ts";
import type { StoredVector } from "./architectures/architecture.ts";
import { architectureOf } from "./architectures/mod.ts";
import type { ModelConfig } from "./config.ts";
import { expectedWeights } from "./expected_weights.ts";
import type { Naming } from "./fused_tensors.ts";

/** A vector as stored in the file, and the conversion of its elements. */
interface Stored {
  readonly tensor: TensorInfo;
  readonly vector: StoredVector;
}

/**
 * Returns the same file with the tensors of `config` under the engine's names. Vectors that a
 * checkpoint stores in another form than GGUF are converted and read as float32.
 *
 * @param file the file, with fused tensors already split
 * @param options.naming whether its tensors have GGUF's or Hugging Face's names
 * @param options.mlx whether mlx-lm saved it
 */
export function underEngineNames(
  file: ModelFile,
  config: ModelConfig,
  { naming, mlx }: { readonly naming: Naming; readonly mlx: boolean },
): ModelFile {
  const { hfVector } = architectureOf(config);
  const tensors = new Map<string, TensorInfo>();
  const vectors = new Map<TensorInfo, Stored>();
  for (const { weight, name, gguf, hf, shape } of expectedWeights(config)) {
    const tensor = file.tensors.get(naming === "gguf" ? gguf : hf)!;
    const vector = naming === "hf" ? hfVector?.(weight, mlx) : undefined;
    if (vector === undefined) {
      tensors.set(name, String(tensor.shape) === String(shape) ? tensor : { ...tensor, shape });
      continue;
    }
    const floats = { ...tensor, type: "F32", byteLength: 4 * shape[0]! } as const;
    tensors.set(name, floats);
    vectors.set(floats, { tensor, vector });
  }
  return withTensors(file, tensors, (tensor, offset, into) => {
    const stored = vectors.get(tensor);
    if (stored === undefined) return file.read(tensor, offset, into);
    const bytes = new Uint8Array(stored.tensor.byteLength);
    file.read(stored.tensor, 0, bytes);
    const values = new Float32Array(stored.tensor.shape[0]!);
    dequantize(stored.tensor.type, bytes, values);
    const own = new Uint8Array(values.map(stored.vector.read).buffer);
    into.set(own.subarray(offset, offset + into.length));
  });
}
