/** The interface of an open model in any format: checked metadata, tensor table, bounded reads. */

import type { TensorType } from "../../kernels/tensor_types.ts";

/** A metadata value of GGUF's types; 64-bit integers beyond 2^53 are bigints. */
export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | readonly MetadataValue[];

/** Options for opening a model. */
export interface OpenOptions {
  /**
   * Accept tensors of types that tvllm cannot run, for callers that only inspect the file. Their
   * `type` is then the file's name of it. Default false: such a tensor causes an UnsupportedError.
   */
  readonly anyType?: boolean;
}

/** One tensor: where its bytes are and how they are packed. */
export interface TensorInfo {
  /** The name, as in the file. */
  readonly name: string;
  /** How the weights are packed. */
  readonly type: TensorType;
  /** Outermost dimension first, e.g. [rows, columns]; rows are contiguous. (GGUF: reversed.) */
  readonly shape: readonly number[];
  /** Index into `ModelFile.paths`. */
  readonly file: number;
  /** Offset of its bytes from the start of that file. */
  readonly byteOffset: number;
  /** Number of its bytes. */
  readonly byteLength: number;
}

/** An open model. Only the metadata are in memory; weights are read in pieces on demand. */
export interface ModelFile {
  /** The format of its files. */
  readonly format: "gguf" | "safetensors";
  /** The model's files; split or sharded models have several. */
  readonly paths: readonly string[];
  /** Sum of the sizes of `paths` on disk, in bytes. */
  readonly byteLength: number;
  /** Values by key, such as `general.name`. */
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** Tensors by name, such as `token_embd.weight`. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Fills `into` with the tensor's bytes from `offset` (relative to the tensor) on.
   *
   * @throws {RangeError} if the range is not within the tensor.
   * @throws {ModelFormatError} if the file was changed since it was opened.
   */
  read(tensor: TensorInfo, offset: number, into: Uint8Array): void;
  /** Closes the files. Closing them again does nothing. */
  close(): void;
}

/** Returns the same model with other tensors, read with `read` or, by default, from the file. */
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
