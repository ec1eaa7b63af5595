/** The open files of a model, and one table of all tensors in them. */

import type { InputFile } from "./input_file.ts";
import type { MetadataValue, ModelFile, TensorInfo } from "./model_file.ts";
import { printable, quote } from "./quote.ts";

/** An open file, and the tensors that its header lists. */
export interface TensorFile {
  readonly file: InputFile;
  readonly tensors: readonly Omit<TensorInfo, "file">[];
}

/** A ModelFile over files whose headers have been read. */
export class TensorFiles implements ModelFile {
  readonly paths: readonly string[];
  readonly byteLength: number;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #files: readonly InputFile[];

  /** @throws {ModelFormatError} if a tensor occurs in two files. */
  constructor(
    readonly format: ModelFile["format"],
    readonly metadata: ReadonlyMap<string, MetadataValue>,
    parts: readonly TensorFile[],
  ) {
    this.#files = parts.map(({ file }) => file);
    this.paths = this.#files.map((file) => file.path);
    this.byteLength = this.#files.reduce((sum, file) => sum + file.size, 0);
    const tensors = new Map<string, TensorInfo>();
    for (const [index, part] of parts.entries()) {
      for (const tensor of part.tensors) {
        const other = tensors.get(tensor.name);
        if (other !== undefined) {
          throw part.file.fault(
            `tensor ${quote(tensor.name)} is also in ${printable(this.paths[other.file]!)}; ` +
              `the files belong to different models: download them again`,
          );
        }
        tensors.set(tensor.name, { ...tensor, file: index });
      }
    }
    this.tensors = tensors;
  }

  read(tensor: TensorInfo, offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > tensor.byteLength) {
      throw new RangeError(
        `Cannot read tensor ${quote(tensor.name)}: bytes ${offset} to ${offset + into.length} ` +
          `are outside its ${tensor.byteLength} bytes`,
      );
    }
    this.#files[tensor.file]!.read(tensor.byteOffset + offset, into);
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}
