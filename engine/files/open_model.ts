/** Opens a model of either format by its path. */

import { basename, dirname, join } from "node:path";
import { openGguf } from "./gguf.ts";
import { CONFIG } from "./model_texts.ts";
import type { ModelFile, OpenOptions } from "./model_file.ts";
import { openSafetensors } from "./safetensors.ts";

/**
 * Opens the model at `path`: a GGUF file (of a split model, any part), or safetensors by their
 * directory, by its config.json, or by one of its .safetensors files or their index.
 *
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openGguf` and
 * `openSafetensors` do.
 */
export function openModelFile(path: string, options: OpenOptions = {}): ModelFile {
  // A directory of anything else is no model: openGguf says so, and what to name instead.
  if (exists(join(path, CONFIG))) return openSafetensors(path, options);
  const inside = basename(path) === CONFIG || /\.safetensors(\.index\.json)?$/.test(path);
  return inside ? openSafetensors(dirname(path), options) : openGguf(path, options);
}

/** What cannot be looked at is left to the reader, whose error says why. */
function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
