/** Opens a model in safetensors in Hugging Face's layout: one file, or shards and an index. */

import { join } from "node:path";
import { ModelFormatError, UnsupportedError } from "../errors.ts";
import { exists, InputFile } from "./input_file.ts";
import { isObject, readJson } from "./json.ts";
import { MlxTensors } from "./mlx_tensors.ts";
import type { ModelFile, OpenOptions } from "./model_file.ts";
import { type ModelTexts, readModelTexts, textMetadata } from "./model_texts.ts";
import { printable, quote } from "./quote.ts";
import { readSafetensorsHeader } from "./safetensors_header.ts";
import { TensorFiles } from "./tensor_files.ts";

const MAX_INDEX_BYTES = 8 * 2 ** 20;
/** Qwen3-235B-A22B has 36,945 tensors. */
const INDEX_LIMITS = { keys: 2 ** 16, values: 2 ** 16 };
/** The largest published models have some 250 shards. */
const MAX_SHARDS = 1024;

const WEIGHTS = "model.safetensors";
/** MLX's former name of a single file. Several were weights.00.safetensors etc., without index. */
const OLD_WEIGHTS = "weights.safetensors";
const INDEX = "model.safetensors.index.json";

/**
 * An open model in safetensors. Its metadata are the values of config.json, where `a.b` is key b of
 * object a, and the architecture, the name and the chat template under GGUF's keys.
 */
export interface SafetensorsModel extends ModelFile, ModelTexts {
  readonly format: "safetensors";
}

export function isSafetensors(file: ModelFile): file is SafetensorsModel {
  return file.format === "safetensors";
}

/**
 * Opens the model in `directory`: config.json, the optional texts beside it, and the weights. These
 * are the files that model.safetensors.index.json lists, or else model.safetensors; for old MLX
 * models weights.safetensors, or weights.00.safetensors and so on. Code in the directory is never
 * run.
 *
 * @throws {ModelNotFoundError} if the directory, config.json, the weights or a shard is missing.
 * @throws {ModelFormatError} if a file is damaged, or files contradict each other.
 * @throws {UnsupportedError} if a tensor has a type that tvllm does not read.
 */
export function openSafetensors(
  directory: string,
  { anyType = false }: OpenOptions = {},
): SafetensorsModel {
  const texts = readModelTexts(directory);
  const index = join(directory, INDEX);
  const shards = exists(index) ? readIndex(index) : weightsIn(directory);
  const packed = isObject(texts.config["quantization"]);
  const files: InputFile[] = [];
  try {
    for (const name of shards.keys()) files.push(InputFile.open(join(directory, name)));
    const metadata = textMetadata(texts);
    const read = (packed: boolean) => {
      const headers = files.map((file) => readSafetensorsHeader(file, { packed, anyType }));
      const parts = headers.map(({ tensors }, i) => ({ file: files[i]!, tensors }));
      const model = new TensorFiles("safetensors", metadata, parts);
      checkIndex(model, shards, files);
      const words = new Set(headers.flatMap((header) => header.words));
      return packed ? new MlxTensors(model, words, texts.config) : model;
    };
    let known: ModelFile;
    try {
      known = read(packed);
    } catch (error) {
      if (!(anyType && packed && error instanceof UnsupportedError)) throw error;
      known = read(false);
    }
    return Object.assign(known, { format: "safetensors" as const }, texts);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** Returns the files of a model without an index. Their lists of expected tensors are empty. */
function weightsIn(directory: string): ReadonlyMap<string, readonly string[]> {
  const isThere = (name: string) => exists(join(directory, name));
  const one = [WEIGHTS, OLD_WEIGHTS].find(isThere);
  const numbered = (i: number) => `weights.${String(i).padStart(2, "0")}.safetensors`;
  let count = 0;
  if (one === undefined) { while (count < MAX_SHARDS && isThere(numbered(count))) count++; }
  const names = count > 0 ? Array.from({ length: count }, (_, i) => numbered(i)) : [one ?? WEIGHTS];
  return new Map(names.map((name) => [name, []]));
}

/** Returns the shards that an index lists, each with the tensors that it must contain. */
function readIndex(path: string): ReadonlyMap<string, readonly string[]> {
  const fault = (detail: string) =>
    new ModelFormatError(
      `Cannot read ${printable(path)}: ${detail}; the file is damaged: download it again`,
    );
  const map = readJson(path, MAX_INDEX_BYTES, INDEX_LIMITS)["weight_map"];
  if (!isObject(map)) throw fault("it has no weight_map");
  const shards = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !isPlainName(shard)) {
      throw fault(
        `tensor ${quote(tensor)} is in ${quote(String(shard))}, which is not the name of a ` +
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

/** Whether a name cannot lead out of the directory on any operating system. */
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
          `tensor ${quote(tensor)} is missing, although ${INDEX} lists it in this file; ` +
            `the files belong to different models: download them again`,
        );
      }
    }
  }
}
