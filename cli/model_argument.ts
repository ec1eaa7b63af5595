/** Opens what `-m, --model` names. */

import { ModelNotFoundError } from "../engine/errors.ts";
import { openGgufBytes } from "../engine/files/gguf.ts";
import { formatHubSpec, isHubSpec } from "../engine/files/hub_spec.ts";
import type { ModelFile } from "../engine/files/model_file.ts";
import { openModelFile } from "../engine/files/open_model.ts";
import { printable } from "../engine/files/quote.ts";
import { hubCache, hubSpec } from "./hub_settings.ts";
import { cachedSynthetic, isSyntheticSpec } from "./synthetic_cache.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Opens the model that `spec` names, or the built-in one; the caller closes it. A model of the hub
 * comes from the cache: `tvllm pull` alone has the network. One of random weights is made there.
 *
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openModelFile` does.
 * @throws {UsageError} if a hub's model, or one of random weights, is not spelled as it should be.
 */
export async function openModel(
  spec: string | undefined,
  terminal: Terminal,
): Promise<ModelFile> {
  if (spec !== undefined) {
    if (isHubSpec(spec)) return openCached(spec, terminal);
    return openModelFile(isSyntheticSpec(spec) ? await cachedSynthetic(spec, terminal) : spec);
  }
  terminal.note("Using the built-in story model; -m FILE names another");
  const { default: bytes } = await import("./builtin_model.ts");
  return openGgufBytes(bytes, "builtin.gguf");
}

function openCached(text: string, terminal: Terminal): ModelFile {
  const spec = hubSpec(text);
  const cache = hubCache();
  const model = cache.find(spec);
  if (model === undefined) {
    const name = formatHubSpec(spec);
    throw new ModelNotFoundError(
      `Cannot open ${name}: it is not in the cache ${printable(cache.directory)}; ` +
        `get it by tvllm pull ${name}`,
    );
  }
  terminal.detail(`Using ${printable(model.path)}`);
  return openModelFile(model.path);
}
