/** Reads from an open model, in either format, what the engine needs. */

import type { ModelFile } from "../files/model_file.ts";
import { isSafetensors } from "../files/safetensors.ts";
import { checkpointView, DRAFTS, noteOf } from "./checkpoint_view.ts";
import type { ModelConfig } from "./config.ts";
import { underEngineNames } from "./engine_weights.ts";
import { stackExperts } from "./expert_tensors.ts";
import { splitFused } from "./fused_tensors.ts";
import { configFromGguf } from "./gguf_config.ts";
import { configFromSafetensors } from "./hf_config.ts";

/** A model's checked config, and its weights under the engine's names. */
export interface ReadModel {
  readonly config: ModelConfig;
  readonly weights: ModelFile;
  /** One line for each part of the file that is not used. */
  readonly notes: readonly string[];
}

/**
 * Reads the config of an open model, and gives its tensors the engine's names.
 *
 * @throws {ModelFormatError | UnsupportedError} as `configFromGguf` and `configFromSafetensors` do.
 */
export function readModel(file: ModelFile): ReadModel {
  if (!isSafetensors(file)) {
    const config = configFromGguf(file);
    const split = splitFused(file, config, "gguf");
    const weights = underEngineNames(split, config, { naming: "gguf", mlx: false });
    return { config, weights, notes: draftNotes(file, config) };
  }
  const { file: text, mlx, notes } = checkpointView(file);
  const stacked = stackExperts(text);
  const config = configFromSafetensors(file, stacked);
  const split = splitFused(stacked, config, "hf");
  return { config, weights: underEngineNames(split, config, { naming: "hf", mlx }), notes };
}

/** Returns the note about layers after the model's own that draft tokens, if there are any. */
function draftNotes({ tensors }: ModelFile, { layers }: ModelConfig): string[] {
  const isDraft = (name: string) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1) >= layers.length;
  const count = [...tensors.keys()].filter(isDraft).length;
  return count === 0 ? [] : [noteOf(DRAFTS, count)];
}
