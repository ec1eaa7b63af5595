/** Opens a model in a directory of safetensors, as Hugging Face has it: one file, or shards and an index. */

import { join } from "node:path";
import { ModelFormatError, ModelNotFoundError } from "../errors.ts";
import { InputFile } from "./input_file.ts";
import { isObject, type JsonObject, readJsonObject } from "./json.ts";
import type { ModelFile } from "./model_file.ts";
import { printable, quote } from "./quote.ts";
import { readSafetensorsHeader } from "./safetensors_header.ts";
import { TensorFiles } from "./tensor_files.ts";

export const MAX_CONFIG_BYTES = 2 ** 20;
export const MAX_INDEX_BYTES = 8 * 2 ** 20;
/** The largest published models have some 250 shards. */
export const MAX_SHARDS = 1024;

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const CONFIG = "config.json";

/** An open model in safetensors. */
export interface SafetensorsModel extends ModelFile {
  /** What config.json says, unchecked but for its being an object. */
  readonly config: JsonObject;
}

/**
 * Opens the model in `directory`: config.json, and model.safetensors or what
 * model.safetensors.index.json lists. No code that comes with a model is ever run.
 *
 * @throws {ModelNotFoundError} if the directory, config.json, the weights or a shard is missing.
 * @throws {ModelFormatError} if one of them is damaged, or they contradict each other.
 * @throws {UnsupportedError} for a tensor type that tvllm does not read.
 */
export function openSafetensors(directory: string): SafetensorsModel {
  const config = readJson(join(directory, CONFIG), MAX_CONFIG_BYTES);
  const index = join(directory, INDEX);
  const shards = exists(index) ? readIndex(index) : new Map([[WEIGHTS, [] as string[]]]);
  const files: InputFile[] = [];
  try {
    const headers = [...shards.keys()].map((name) => {
      const file = InputFile.open(join(directory, name));
      files.push(file);
      return readSafetensorsHeader(file);
    });
    const model = new TensorFiles(
      "safetensors",
      files,
      headers.map(({ tensors }) => tensors),
      headers[0]!.metadata,
    );
    checkIndex(model, shards, files);
    return Object.assign(model, { config });
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

function readJson(path: string, limit: number): JsonObject {
  const file = InputFile.open(path);
  try {
    return readJsonObject(file, limit);
  } finally {
    file.close();
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new ModelNotFoundError(`Cannot open ${printable(path)}: ${error}`, { cause: error });
  }
}

/** The shards that an index lists, each with the tensors that it is to hold. */
function readIndex(path: string): ReadonlyMap<string, readonly string[]> {
  const fault = (detail: string) =>
    new ModelFormatError(
      `Cannot read ${printable(path)}: ${detail}; the file is damaged, get it again`,
    );
  const map = readJson(path, MAX_INDEX_BYTES)["weight_map"];
  if (!isObject(map)) throw fault("it has no weight_map");
  const shards = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !isPlainName(shard)) {
      throw fault(
        `tensor ${quote(tensor)} is in ${quote(String(shard))}, which is no name of a ` +
          `.safetensors file in this directory`,
      );
    }
    const tensors = shards.get(shard);
    if (tensors === undefined) shards.set(shard, [tensor]);
    else tensors.push(tensor);
  }
  if (shards.size === 0 || shards.size > MAX_SHARDS) {
    throw fault(`it lists ${shards.size} shards, not 1 to ${MAX_SHARDS}`);
  }
  return shards;
}

/** A name that cannot lead out of the directory, on any system. */
function isPlainName(name: string): boolean {
  return /^[^/\\:\0]+\.safetensors$/.test(name) && !name.startsWith(".");
}

function checkIndex(
  model: ModelFile,
  shards: ReadonlyMap<string, readonly string[]>,
  files: readonly InputFile[],
): void {
  for (const [i, tensors] of [...shards.values()].entries()) {
    for (const tensor of tensors) {
      if (model.tensors.get(tensor)?.file !== i) {
        throw files[i]!.fault(
          `tensor ${quote(tensor)} is not in it, where ${INDEX} says it is; ` +
            `the files are not of one model, get them again`,
        );
      }
    }
  }
}
