/** Opens a model of either format by its path. */

import { basename, dirname, join } from "node:path";
import { openGguf } from "./gguf.ts";
import { CONFIG } from "./model_texts.ts";
import type { ModelFile, OpenOptions } from "./model_file.ts";
import { openSafetensors } from "./safetensors.ts";

/**
 * Opens the model at `path`. That is a GGUF file, any part of a split GGUF model, a directory of
 * safetensors, or a file in it: config.json, a .safetensors file or the index.
 *
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openGguf` and
 * `openSafetensors` do.
 */
export function openModelFile(path: string, options: OpenOptions = {}): ModelFile {
  // A directory without config.json is not a model. openGguf throws the error that says so.
  if (exists(join(path, CONFIG))) return openSafetensors(path, options);
  const inside = basename(path) === CONFIG || /\.safetensors(\.index\.json)?$/.test(path);
  return inside ? openSafetensors(dirname(path), options) : openGguf(path, options);
}

/** Returns false if the path cannot be checked: the reader then throws an error with the reason. */
function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
