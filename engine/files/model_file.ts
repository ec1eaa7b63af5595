/** What every model format's reader returns: checked metadata, a tensor table, and bounded reads. */

import type { TensorType } from "../../kernels/tensor_types.ts";

/** A metadata value as GGUF knows them; 64-bit integers that exceed 2^53 stay bigint. */
export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | readonly MetadataValue[];

/** How a file is opened. */
export interface OpenOptions {
  /**
   * Takes tensors of types that tvllm does not run, too, to look at the file alone: their `type` is
   * what the file calls it. Default false: they are an UnsupportedError.
   */
  readonly anyType?: boolean;
}

/** One tensor: where its bytes are and how they are packed. */
export interface TensorInfo {
  /** As the file spells it. */
  readonly name: string;
  /** How its weights are packed. */
  readonly type: TensorType;
  /** Outermost dimension first, e.g. [rows, columns]; a row is contiguous. (GGUF stores them reversed.) */
  readonly shape: readonly number[];
  /** Index into `ModelFile.paths`. */
  readonly file: number;
  /** Bytes from the start of that file. */
  readonly byteOffset: number;
  /** Bytes that it has there. */
  readonly byteLength: number;
}

/** An open model. Nothing but metadata is in memory; weights are read in pieces on demand. */
export interface ModelFile {
  /** The kind of its files. */
  readonly format: "gguf" | "safetensors";
  /** The files read, split or sharded models having several. */
  readonly paths: readonly string[];
  /** Sum of the sizes of `paths` on disk, in bytes. */
  readonly byteLength: number;
  /** By key, such as `general.name`. */
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** By name, such as `token_embd.weight`. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Fills `into` with the tensor's bytes from `offset` (relative to the tensor) on.
   *
   * @throws {RangeError} if the range is not within the tensor.
   * @throws {ModelFormatError} if the file got shorter since it was opened.
   */
  read(tensor: TensorInfo, offset: number, into: Uint8Array): void;
  /** Closes its files, once. */
  close(): void;
}

/** The same file with other tensors, which are read as `read` says, else as in the file. */
export function withTensors(
  file: ModelFile,
  tensors: ModelFile["tensors"],
  read: ModelFile["read"] = (tensor, offset, into) => file.read(tensor, offset, into),
): ModelFile {
  return {
    format: file.format,
    paths: file.paths,
    byteLength: file.byteLength,
    metadata: file.metadata,
    tensors,
    read,
    close: () => file.close(),
  };
}
