/** Opens what `-m, --model` names. */

import { openGguf } from "../engine/files/gguf.ts";
import type { ModelFile } from "../engine/files/model_file.ts";
import { UsageError } from "./exit_codes.ts";

/**
 * Opens the model that `spec` names; the caller closes it.
 *
 * @throws {UsageError} if no model is named.
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openGguf` does.
 */
export function openModel(spec: string | undefined): ModelFile {
  if (spec === undefined) {
    throw new UsageError("Cannot choose a model: name one by -m FILE or TVLLM_MODEL");
  }
  return openGguf(spec);
}
