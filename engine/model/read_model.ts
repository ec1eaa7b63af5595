/** What the engine needs of an open model, in either format. */

import type { ModelFile } from "../files/model_file.ts";
import { isSafetensors } from "../files/safetensors.ts";
import { underGgufNames } from "./checkpoint_tensors.ts";
import type { ModelConfig } from "./config.ts";
import { stackExperts } from "./expert_tensors.ts";
import { splitFused } from "./fused_tensors.ts";
import { configFromGguf } from "./gguf_config.ts";
import { configFromSafetensors } from "./hf_config.ts";

/** A model's checked config, and its weights under GGUF's names. */
export interface ReadModel {
  readonly config: ModelConfig;
  readonly weights: ModelFile;
}

/**
 * @throws {ModelFormatError | UnsupportedError} as `configFromGguf` and `configFromSafetensors` do.
 */
export function readModel(file: ModelFile): ReadModel {
  if (!isSafetensors(file)) {
    const config = configFromGguf(file);
    return { config, weights: splitFused(file, config, "gguf") };
  }
  const stacked = stackExperts(file);
  const config = configFromSafetensors(file, stacked);
  return { config, weights: underGgufNames(splitFused(stacked, config, "hf"), config) };
}
