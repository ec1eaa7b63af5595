/** Opens the model that `-m, --model` names. */

import { ModelNotFoundError } from "../engine/errors.ts";
import { openGgufBytes } from "../engine/files/gguf.ts";
import { isHubSpec, parseHubSpec } from "../engine/hub/spec.ts";
import type { ModelFile, OpenOptions } from "../engine/files/model_file.ts";
import { openModelFile } from "../engine/files/open_model.ts";
import { printable } from "../engine/files/quote.ts";
import { UsageError } from "./exit_codes.ts";
import { dropBeforeModel } from "./permissions.ts";
import { isSyntheticSpec } from "./model_specs.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Opens the model that `spec` names, or the built-in one; the caller closes it. If it is not in the
 * cache, a model of the hub is downloaded, and one with random weights is created there. Network
 * and write access are dropped before the file is opened, because it may be malicious.
 *
 * @throws {ModelNotFoundError | ModelFormatError | UnsupportedError} as `openModelFile` does.
 * @throws {RequestError | UsageError} if the name of a hub's model, or of one with random weights,
 * is invalid.
 */
export async function openModel(
  spec: string | undefined,
  terminal: Terminal,
  options: OpenOptions = {},
): Promise<ModelFile> {
  if (spec === "") {
    throw new UsageError(
      "Cannot open a model without a name: -m needs a .gguf file, hf:ORG/REPO or synth:NAME:QUANT",
    );
  }
  const path = spec === undefined ? undefined : await modelPath(spec, terminal);
  // If the file is missing, write access is kept, so that new output files can be removed again.
  if (path === undefined || isThere(path)) dropBeforeModel();
  if (path !== undefined) return await openPath(path, options);
  terminal.note("Using the built-in story model; choose another with -m");
  const { default: bytes } = await import("./builtin_model.ts");
  return openGgufBytes(bytes, "builtin.gguf");
}

async function openPath(path: string, options: OpenOptions): Promise<ModelFile> {
  try {
    return openModelFile(path, options);
  } catch (error) {
    const missing = error instanceof ModelNotFoundError &&
      error.cause instanceof Deno.errors.NotFound;
    if (!missing) throw error;
    const { modelMeant } = await import("./model_guess.ts");
    throw new ModelNotFoundError(
      `Cannot open ${printable(path)}: there is no such file; ${modelMeant(path)}`,
      { cause: error.cause },
    );
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}

/**
 * Returns the paths of several models; undefined stands for the built-in one. All are downloaded or
 * created before the first is opened, because write access is dropped then.
 */
export async function modelPaths<Spec extends string | undefined>(
  specs: readonly Spec[],
  terminal: Terminal,
): Promise<(string | Spec)[]> {
  const paths: (string | Spec)[] = [];
  for (const spec of specs) {
    paths.push(spec === undefined ? spec : await modelPath(spec, terminal));
  }
  return paths;
}

/** Returns the path of the model that `spec` names. Downloads or creates it first if needed. */
export async function modelPath(spec: string, terminal: Terminal): Promise<string> {
  if (isSyntheticSpec(spec)) {
    const { cachedSynthetic } = await import("./synthetic_cache.ts");
    return await cachedSynthetic(spec, terminal);
  }
  if (!isHubSpec(spec)) return spec;
  const { cachedOrDownloaded } = await import("./hub_model.ts");
  const { path } = await cachedOrDownloaded(parseHubSpec(spec), terminal);
  terminal.detail(`Using ${printable(path)}`);
  return path;
}
