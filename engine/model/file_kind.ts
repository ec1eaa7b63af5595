/** Recognizes GGUF files that are not language models themselves. */

import type { MetadataValue } from "../files/model_file.ts";

/**
 * Returns a description of a file that accompanies a model, or undefined for a model. Sources:
 * `general.type` in ggml's docs/gguf.md; convert_lora_to_gguf.py and clip.cpp of llama.cpp.
 */
export function companionKind(
  metadata: ReadonlyMap<string, MetadataValue>,
): string | undefined {
  const type = metadata.get("general.type");
  if (type === "adapter") {
    return metadata.get("adapter.type") === "control_vector"
      ? "a control vector for another model"
      : "a LoRA adapter for another model";
  }
  const isProjector = type === "mmproj" || metadata.get("general.architecture") === "clip";
  if (isProjector) return "an image or audio projector (mmproj) for another model";
  if (type === "imatrix" || metadata.has("imatrix.datasets")) {
    return "an importance matrix (imatrix)";
  }
  return metadata.get("general.architecture") === "controlvector"
    ? "a control vector for another model"
    : undefined;
}
