/** Opens a GGUF model, in one file or split into several, and reads its weights on demand. */

import { basename, dirname, join } from "node:path";
import { ModelNotFoundError } from "../errors.ts";
import { type GgufHeader, readGgufHeader } from "./gguf_header.ts";
import { InputFile } from "./input_file.ts";
import type { MetadataValue, ModelFile, OpenOptions } from "./model_file.ts";
import { printable, quote } from "./quote.ts";
import { type TensorFile, TensorFiles } from "./tensor_files.ts";
import { plural } from "../plural.ts";

/** The largest published models have some 160 parts. */
const MAX_PARTS = 1024;

/** A part's name as llama.cpp's gguf-split writes it: `name-00002-of-00005.gguf`. */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * Opens the GGUF model at `path`. If it is any part of a split model, opens all parts. The metadata
 * come from the first part.
 *
 * @throws {ModelNotFoundError} if the file or a part of a split model is missing or unreadable.
 * @throws {ModelFormatError} if it is not GGUF, or damaged.
 * @throws {UnsupportedError} if its GGUF version or a tensor type is not supported.
 */
export function openGguf(path: string, { anyType = false }: OpenOptions = {}): ModelFile {
  const files: InputFile[] = [];
  const open = (path: string): Part => {
    const file = InputFile.open(path);
    files.push(file);
    return { file, header: readGgufHeader(file, anyType) };
  };
  try {
    const first = open(path);
    const count = partCount(first.header, files[0]!);
    if (count === 1) {
      return new TensorFiles("gguf", first.header.metadata, [tensorsOf(first)]);
    }
    const paths = partPaths(files[0]!, count);
    const parts = paths.map((name) => name === path ? first : openPart(name, path, open));
    for (const [i, part] of parts.entries()) checkPart(part, i, count);
    const model = new TensorFiles("gguf", parts[0]!.header.metadata, parts.map(tensorsOf));
    checkTensorCount(model, parts[0]!.file);
    return model;
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/**
 * Opens a GGUF model of one part from the content of its file in memory. Errors and
 * `ModelFile.paths` call the file `name`. If `size` is given, `bytes` are only the start of a file
 * of that size.
 *
 * @throws {ModelFormatError | UnsupportedError} as `openGguf` does.
 */
export function openGgufBytes(bytes: Uint8Array, name: string, size = bytes.length): ModelFile {
  const file = InputFile.ofBytes(bytes, name, size);
  const { tensors, metadata } = readGgufHeader(file);
  return new TensorFiles("gguf", metadata, [{ file, tensors }]);
}

interface Part {
  readonly file: InputFile;
  readonly header: GgufHeader;
}

function tensorsOf({ file, header }: Part): TensorFile {
  return { file, tensors: header.tensors };
}

function openPart(path: string, named: string, open: (path: string) => Part): Part {
  try {
    return open(path);
  } catch (error) {
    if (!(error instanceof ModelNotFoundError)) throw error;
    throw new ModelNotFoundError(
      `Cannot open ${printable(named)}: its part ${printable(basename(path))} cannot be read; ` +
        `put all parts into one directory`,
      { cause: error },
    );
  }
}

function partCount(header: GgufHeader, file: InputFile): number {
  const count = header.metadata.get("split.count") ?? 1;
  if (typeof count !== "number" || !Number.isInteger(count) || count < 0 || count > MAX_PARTS) {
    throw file.fault(
      `key 'split.count' is ${shown(count)}, not a number of parts up to ${MAX_PARTS}; ` +
        `the file is damaged: download it again`,
    );
  }
  return Math.max(count, 1);
}

/** Returns the paths of all parts, derived from the name of one of them. */
function partPaths(file: InputFile, count: number): string[] {
  const match = PART_NAME.exec(basename(file.path));
  if (match === null || Number(match[3]) !== count) {
    throw file.fault(
      `it is one of ${count} parts, but its name does not end in ` +
        `-0000N-of-${digits(count)}.gguf; restore the original names of the parts`,
    );
  }
  return Array.from({ length: count }, (_, i) => {
    const name = `${match[1]}-${digits(i + 1)}-of-${digits(count)}.gguf`;
    return name === basename(file.path) ? file.path : join(dirname(file.path), name);
  });
}

function checkPart({ file, header }: Part, index: number, count: number): void {
  for (const [key, expected] of [["split.count", count], ["split.no", index]] as const) {
    const value = header.metadata.get(key);
    if (value !== expected) {
      throw file.fault(
        `key '${key}' is ${shown(value)}, but the file's name says part ${index + 1} of ` +
          `${count}; download it again`,
      );
    }
  }
}

function checkTensorCount(model: ModelFile, first: InputFile): void {
  const stated = model.metadata.get("split.tensors.count");
  if (stated !== undefined && stated !== model.tensors.size) {
    throw first.fault(
      `key 'split.tensors.count' is ${shown(stated)}, but the ${model.paths.length} parts have ` +
        `${model.tensors.size} ${
          plural(model.tensors.size, "tensor")
        }; the parts belong to different models: download them again`,
    );
  }
}

function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return "missing";
  return Array.isArray(value) ? "an array" : quote(String(value));
}

function digits(part: number): string {
  return String(part).padStart(5, "0");
}
