/** Opens a model in GGUF, in one file or split over several, and reads its weights on demand. */

import { basename, dirname, join } from "node:path";
import { ModelNotFoundError } from "../errors.ts";
import { type GgufHeader, readGgufHeader } from "./gguf_header.ts";
import { InputFile } from "./input_file.ts";
import type { MetadataValue, ModelFile, TensorInfo } from "./model_file.ts";
import { printable, quote } from "./quote.ts";

/** The largest published models have some 160 parts. */
export const MAX_PARTS = 1024;

/** `name-00002-of-00005.gguf`, as llama.cpp's gguf-split writes. */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * Opens the GGUF model at `path`. Of a split model any part may be named, and all are opened.
 * Metadata is the first part's.
 *
 * @throws {ModelNotFoundError} if the file or a part of a split model is missing or unreadable.
 * @throws {ModelFormatError} if it is not GGUF, or damaged.
 * @throws {UnsupportedError} for a GGUF version or a tensor type that tvllm does not read.
 */
export function openGguf(path: string): ModelFile {
  const files: InputFile[] = [];
  try {
    const first = open(path, files);
    const count = partCount(first.header, files[0]!);
    if (count === 1) return new GgufFile(files, [first.header]);
    const paths = partPaths(files[0]!, count);
    const headers = paths.map((part, i) => {
      const { file, header } = part === path ? first : openPart(part, path, files);
      checkPart(file, header, i, count);
      return header;
    });
    const opened = paths.map((part) => files.find((file) => file.path === part)!);
    return new GgufFile(opened, headers);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

class GgufFile implements ModelFile {
  readonly format = "gguf";
  readonly paths: readonly string[];
  readonly byteLength: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #files: readonly InputFile[];

  constructor(files: readonly InputFile[], headers: readonly GgufHeader[]) {
    this.#files = files;
    this.paths = files.map((file) => file.path);
    this.byteLength = files.reduce((sum, file) => sum + file.size, 0);
    this.metadata = headers[0]!.metadata;
    const tensors = new Map<string, TensorInfo>();
    for (const [file, header] of headers.entries()) {
      for (const tensor of header.tensors) {
        const other = tensors.get(tensor.name);
        if (other !== undefined) {
          throw files[file]!.fault(
            `tensor ${quote(tensor.name)} is also in ${printable(this.paths[other.file]!)}; ` +
              `the parts are not of one model, get them again`,
          );
        }
        tensors.set(tensor.name, { ...tensor, file });
      }
    }
    this.tensors = tensors;
    const stated = this.metadata.get("split.tensors.count");
    if (headers.length > 1 && stated !== undefined && stated !== tensors.size) {
      throw files[0]!.fault(
        `key 'split.tensors.count' is ${stated}, and the ${headers.length} parts have ` +
          `${tensors.size} tensors; the parts are not of one model, get them again`,
      );
    }
  }

  read(tensor: TensorInfo, offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > tensor.byteLength) {
      throw new RangeError(
        `Cannot read tensor ${quote(tensor.name)}: bytes ${offset} to ${offset + into.length} ` +
          `are not within its ${tensor.byteLength}`,
      );
    }
    this.#files[tensor.file]!.read(tensor.byteOffset + offset, into);
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}

interface Part {
  readonly file: InputFile;
  readonly header: GgufHeader;
}

function open(path: string, files: InputFile[]): Part {
  const file = InputFile.open(path);
  files.push(file);
  return { file, header: readGgufHeader(file) };
}

function openPart(path: string, named: string, files: InputFile[]): Part {
  try {
    return open(path, files);
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
        `the file is damaged, get it again`,
    );
  }
  return Math.max(count, 1);
}

/** The parts' paths, from the name of one of them. */
function partPaths(file: InputFile, count: number): string[] {
  const match = PART_NAME.exec(basename(file.path));
  if (match === null || Number(match[3]) !== count) {
    throw file.fault(
      `it is one of ${count} parts, and its name does not end in ` +
        `-0000N-of-${digits(count)}.gguf; give the parts their names back`,
    );
  }
  return Array.from({ length: count }, (_, i) => {
    const name = `${match[1]}-${digits(i + 1)}-of-${digits(count)}.gguf`;
    return name === basename(file.path) ? file.path : join(dirname(file.path), name);
  });
}

function checkPart(file: InputFile, header: GgufHeader, index: number, count: number): void {
  for (const [key, expected] of [["split.count", count], ["split.no", index]] as const) {
    const value = header.metadata.get(key);
    if (value !== expected) {
      throw file.fault(
        `key '${key}' is ${shown(value)}, and by its name the file is part ${index + 1} of ` +
          `${count}; get it again`,
      );
    }
  }
}

function shown(value: MetadataValue | undefined): string {
  if (value === undefined) return "missing";
  return Array.isArray(value) ? "an array" : quote(String(value));
}

function digits(part: number): string {
  return String(part).padStart(5, "0");
}
