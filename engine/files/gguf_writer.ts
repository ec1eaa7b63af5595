/**
 * Writes GGUF version 3: first the whole header, then the weights piece by piece.
 * Source: docs/gguf.md of ggml.
 */

import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { DEFAULT_ALIGNMENT, TENSOR_TYPE_NAMES, VALUE_TYPES, type ValueType } from "./gguf_types.ts";

type NumberType = Exclude<ValueType, "string" | "bool" | "array" | "uint64" | "int64">;

/** A metadata value, and the type in which it is written. */
export type GgufValue =
  | { readonly type: NumberType; readonly value: number }
  | { readonly type: "uint64" | "int64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly of: NumberType; readonly value: readonly number[] }
  | { readonly type: "array"; readonly of: "string"; readonly value: readonly string[] };

/** A tensor to write. */
export interface GgufTensorData {
  readonly name: string;
  readonly type: TensorType;
  /** Outermost dimension first; rows are contiguous. */
  readonly shape: readonly number[];
  /** The packed bytes in order, in pieces of any length. */
  data(): Iterable<Uint8Array>;
}

/**
 * Yields the bytes of a model's file, in order and in pieces.
 *
 * @throws {RangeError} if a tensor's rows do not consist of whole groups, or its data do not have
 * the length that its shape requires.
 */
export function* ggufPieces(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensorData[],
): Iterable<Uint8Array> {
  const sizes = tensors.map((tensor) =>
    packedBytes(tensor.type, tensor.shape.at(-1)!) * product(tensor.shape.slice(0, -1))
  );
  const header = headerBytes(metadata, tensors, sizes);
  yield header;
  yield new Uint8Array(padding(header.length));
  for (const [i, tensor] of tensors.entries()) {
    let written = 0;
    for (const piece of tensor.data()) {
      yield piece;
      written += piece.length;
    }
    if (written !== sizes[i]) {
      throw new RangeError(
        `Cannot write tensor '${tensor.name}': got ${written} bytes, but its shape requires ${
          sizes[i]
        }`,
      );
    }
    yield new Uint8Array(padding(written));
  }
}

function headerBytes(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensorData[],
  sizes: readonly number[],
): Uint8Array {
  const out = new ByteWriter();
  out.bytes(new TextEncoder().encode("GGUF"));
  out.number("uint32", 3);
  out.size(tensors.length);
  out.size(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    out.number("uint32", VALUE_TYPES.indexOf(value.type));
    out.value(value);
  }
  let offset = 0;
  for (const [i, tensor] of tensors.entries()) {
    out.string(tensor.name);
    out.number("uint32", tensor.shape.length);
    for (const size of tensor.shape.toReversed()) out.size(size);
    out.number("uint32", TENSOR_TYPE_NAMES.indexOf(tensor.type));
    out.size(offset);
    offset += sizes[i]! + padding(sizes[i]!);
  }
  return out.finish();
}

/** Appends little-endian values to a buffer that at least doubles when it is full. */
class ByteWriter {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  value(value: GgufValue): void {
    switch (value.type) {
      case "array":
        this.number("uint32", VALUE_TYPES.indexOf(value.of));
        this.size(value.value.length);
        if (value.of === "string") { for (const text of value.value) this.string(text); }
        else for (const number of value.value) this.number(value.of, number);
        break;
      case "string":
        this.string(value.value);
        break;
      case "bool":
        this.number("uint8", Number(value.value));
        break;
      case "uint64":
      case "int64":
        this.#bits64(value.value);
        break;
      default:
        this.number(value.type, value.value);
    }
  }

  number(type: NumberType, value: number): void {
    switch (type) {
      case "uint8":
      case "int8": {
        const at = this.#reserve(1);
        return this.#view.setUint8(at, value);
      }
      case "uint16":
      case "int16": {
        const at = this.#reserve(2);
        return this.#view.setUint16(at, value, true);
      }
      case "uint32":
      case "int32": {
        const at = this.#reserve(4);
        return this.#view.setUint32(at, value, true);
      }
      case "float32": {
        const at = this.#reserve(4);
        return this.#view.setFloat32(at, value, true);
      }
      case "float64": {
        const at = this.#reserve(8);
        return this.#view.setFloat64(at, value, true);
      }
    }
  }

  /** Writes a count, length or offset, which has 64 bits in the file. */
  size(value: number): void {
    this.#bits64(BigInt(value));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.size(bytes.length);
    this.bytes(bytes);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #bits64(value: bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }

  #reserve(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

function padding(length: number): number {
  return (DEFAULT_ALIGNMENT - length % DEFAULT_ALIGNMENT) % DEFAULT_ALIGNMENT;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}
