/** Compares a file's tensors with those that its config requires. */

import { quote } from "../files/quote.ts";
import type { ModelConfig } from "./config.ts";
import type { MetadataReader } from "./metadata_reader.ts";
import { expectedWeights } from "./expected_weights.ts";

/**
 * Checks that all weights exist with the right shape, and that there are no other tensors.
 *
 * @param options.naming whether tensors have GGUF's or Hugging Face's names
 * @param options.ignored returns true for names of tensors that may exist without being needed
 * @throws {ModelFormatError} if a weight is missing or has another shape.
 * @throws {UnsupportedError} if there is an unknown tensor, or a vector is quantized.
 */
export function checkWeights(
  metadata: MetadataReader,
  config: ModelConfig,
  { naming, ignored }: {
    readonly naming: "gguf" | "hf";
    readonly ignored: (name: string) => boolean;
  },
): void {
  const { tensors } = metadata.file;
  const expected = new Set<string>();
  for (const weight of expectedWeights(config)) {
    const name = naming === "gguf" ? weight.gguf : weight.hf;
    const shape = naming === "gguf" ? weight.ggufShape ?? weight.shape : weight.shape;
    expected.add(name);
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      throw metadata.fault(
        `tensor '${name}' is missing (${config.architecture} models require it); ` +
          `the file is damaged or was converted incorrectly: download or convert it again`,
      );
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw metadata.fault(
        `tensor '${name}' has the shape ${tensor.shape.join(" × ")}, but the metadata require ` +
          `${
            shape.join(" × ")
          }; the file is damaged or was converted incorrectly: download or convert it again`,
      );
    }
    if (weight.shape.length === 1 && !["F32", "F16", "BF16"].includes(tensor.type)) {
      throw metadata.unsupported(
        `tensor '${name}' is a vector of type ${tensor.type}; use a model that has it in F32`,
      );
    }
  }
  for (const name of tensors.keys()) {
    if (!expected.has(name) && !ignored(name)) {
      throw metadata.unsupported(
        `tvllm does not support the tensor ${quote(name)} in ${config.architecture} models, and ` +
          `ignoring it would give wrong answers; use another model`,
      );
    }
  }
}
