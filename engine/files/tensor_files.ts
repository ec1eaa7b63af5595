/** The open files of a model, and the tensors in them under one table. */

import type { InputFile } from "./input_file.ts";
import type { MetadataValue, ModelFile, TensorInfo } from "./model_file.ts";
import { printable, quote } from "./quote.ts";

/** A ModelFile over files whose headers have been read. */
export class TensorFiles implements ModelFile {
  readonly paths: readonly string[];
  readonly byteLength: number;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #files: readonly InputFile[];

  /**
   * @param tables the tensors of each of `files`
   * @throws {ModelFormatError} if a tensor is in two files.
   */
  constructor(
    readonly format: ModelFile["format"],
    files: readonly InputFile[],
    tables: readonly (readonly Omit<TensorInfo, "file">[])[],
    readonly metadata: ReadonlyMap<string, MetadataValue>,
  ) {
    this.#files = files;
    this.paths = files.map((file) => file.path);
    this.byteLength = files.reduce((sum, file) => sum + file.size, 0);
    const tensors = new Map<string, TensorInfo>();
    for (const [file, table] of tables.entries()) {
      for (const tensor of table) {
        const other = tensors.get(tensor.name);
        if (other !== undefined) {
          throw files[file]!.fault(
            `tensor ${quote(tensor.name)} is also in ${printable(this.paths[other.file]!)}; ` +
              `the files are not of one model, get them again`,
          );
        }
        tensors.set(tensor.name, { ...tensor, file });
      }
    }
    this.tensors = tensors;
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
