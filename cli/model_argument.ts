/** Opens what `-m, --model` names. */

import { fileURLToPath } from "node:url";
import { openGguf } from "../engine/files/gguf.ts";
import type { ModelFile } from "../engine/files/model_file.ts";
import type { Terminal } from "./terminal.ts";

const BUILT_IN = new URL("../fixtures/builtin.gguf", import.meta.url);

/**
 * Opens the model that `spec` names, or the built-in one; the caller closes it.
 *
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openGguf` does.
 */
export function openModel(spec: string | undefined, terminal: Terminal): ModelFile {
  if (spec !== undefined) return openGguf(spec);
  terminal.note("Using the built-in story model; -m FILE names another");
  return openGguf(fileURLToPath(BUILT_IN));
}
