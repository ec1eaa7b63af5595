/**
 * Reads the header of one GGUF file (metadata, tensor table) and checks it against the file size.
 * Source: docs/gguf.md of ggml.
 */

import { UnsupportedError } from "../errors.ts";
import {
  GGML_LAYOUT,
  GROUP_LAYOUT,
  packedBytes,
  type TensorType,
} from "../../kernels/tensor_types.ts";
import { ByteReader } from "./byte_reader.ts";
import {
  DEFAULT_ALIGNMENT,
  LEAST_VALUE_BYTES,
  REMOVED_TENSOR_TYPES,
  TENSOR_TYPE_NAMES,
  VALUE_TYPES,
} from "./gguf_types.ts";
import type { InputFile } from "./input_file.ts";
import { looksLike } from "./looks_like.ts";
import type { MetadataValue } from "./model_file.ts";
import { printable, quote } from "./quote.ts";
import { plural } from "../plural.ts";

// With the largest vocabularies (260,000 tokens, 500,000 merges), a header has 15 MiB.
const MAX_HEADER_BYTES = 32 * 2 ** 20;
const MAX_KEYS = 2 ** 16;
const MAX_TENSORS = 2 ** 16;
const MAX_KEY_BYTES = 2 ** 16 - 1;
/** The longest chat templates have 0.1 MiB. */
const MAX_STRING_BYTES = 4 * 2 ** 20;
/** Maximum for all arrays of a file together. */
const MAX_ARRAY_VALUES = 2 ** 22;
const MAX_ARRAY_DEPTH = 4;
const MAX_ALIGNMENT = 2 ** 20;
/** GGML_MAX_NAME (64) without the terminating zero. */
const MAX_TENSOR_NAME_BYTES = 63;
const MAX_DIMENSIONS = 4;

/** One entry of the tensor table; `byteOffset` is relative to the start of the file. */
export interface GgufTensor {
  readonly name: string;
  /** With `anyType`, it can also be a type that tvllm cannot read, by GGUF's name. */
  readonly type: TensorType;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** The header of one GGUF file. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly GgufTensor[];
}

/**
 * Reads the header of `file`.
 *
 * @param anyType accept tensors of types that tvllm cannot read, to inspect the table only
 * @throws {ModelFormatError} if it is not GGUF, is damaged, or refers to bytes past its end.
 * @throws {UnsupportedError} if its version or a tensor type is not supported.
 */
export function readGgufHeader(file: InputFile, anyType = false): GgufHeader {
  return new HeaderReader(file, anyType).read();
}

class HeaderReader {
  readonly #reader: ByteReader;
  readonly #metadata = new Map<string, MetadataValue>();
  #alignment = DEFAULT_ALIGNMENT;
  #arrayValues = 0;

  constructor(readonly file: InputFile, readonly anyType: boolean) {
    this.#reader = new ByteReader(file, MAX_HEADER_BYTES, "the metadata and the tensor table");
  }

  read(): GgufHeader {
    const reader = this.#reader;
    this.#checkVersion();
    reader.place = "the header";
    // With a name of one byte, a tensor has at least 33 bytes in the header, and a key at least 14.
    const tensorCount = reader.count("tensor count", 33, MAX_TENSORS);
    const keyCount = reader.count("key count", 14, MAX_KEYS);
    for (let i = 0; i < keyCount; i++) this.#pair(`key ${i + 1} of ${keyCount}`);
    const table = Array.from(
      { length: tensorCount },
      (_, i) => this.#tensor(`tensor ${i + 1} of ${tensorCount}`),
    );
    const dataStart = Math.ceil(reader.offset / this.#alignment) * this.#alignment;
    const tensors = table.map((tensor, i) => {
      const byteOffset = dataStart + tensor.byteOffset;
      if (tensor.type in GGML_LAYOUT) return { ...tensor, byteOffset };
      // The size of its type is unknown, so the tensor extends to the next one.
      const next = dataStart + (table[i + 1]?.byteOffset ?? this.file.size - dataStart);
      return { ...tensor, byteOffset, byteLength: Math.max(0, next - byteOffset) };
    });
    this.#checkPlacement(tensors, dataStart);
    return { metadata: this.#metadata, tensors };
  }

  #checkVersion(): void {
    const head = new Uint8Array(Math.min(64, this.file.size));
    this.file.read(0, head);
    if (head.length < 4 || String.fromCharCode(...head.subarray(0, 4)) !== "GGUF") {
      throw this.file.fault(looksLike(head));
    }
    const reader = this.#reader;
    reader.place = "the magic and the version";
    reader.uint32();
    const version = reader.uint32();
    if (version === 2 || version === 3) return;
    if (version === 0) {
      throw this.file.fault("its GGUF version is 0; the file is damaged: download it again");
    }
    if (version % 65536 === 0) {
      throw this.#unsupported("it is big-endian; get the little-endian version of this model");
    }
    throw this.#unsupported(
      `its GGUF version is ${version}, but tvllm reads only 2 and 3; ` +
        (version < 2 ? "convert the model again with llama.cpp" : "look for a newer tvllm"),
    );
  }

  #pair(place: string): void {
    const reader = this.#reader;
    reader.place = place;
    const key = reader.string("name", MAX_KEY_BYTES);
    if (key === "") throw this.#damaged(`${place} has no name`);
    if (this.#metadata.has(key)) throw this.#damaged(`key ${quote(key)} occurs twice`);
    reader.place = `key ${quote(key)}`;
    const id = reader.uint32();
    // In other texts, such as a description, invalid bytes do no harm.
    reader.lenient = !key.startsWith("tokenizer.");
    const value = this.#value(id, 0);
    reader.lenient = false;
    if (key === "general.alignment") this.#setAlignment(id, value);
    this.#metadata.set(key, value);
  }

  #value(id: number, depth: number): MetadataValue {
    const reader = this.#reader;
    const type = VALUE_TYPES[id];
    switch (type) {
      case undefined:
        throw this.#damaged(`${reader.place} has the unknown value type ${id}`);
      case "string":
        return reader.string("value", MAX_STRING_BYTES);
      case "array":
        return this.#array(depth + 1);
      case "bool": {
        const byte = reader.uint8();
        if (byte > 1) throw this.#damaged(`${reader.place} is a boolean with the value ${byte}`);
        return byte === 1;
      }
      default:
        return reader[type]();
    }
  }

  #array(depth: number): readonly MetadataValue[] {
    const reader = this.#reader;
    if (depth > MAX_ARRAY_DEPTH) {
      throw this.#damaged(
        `${reader.place} has arrays nested more than ${MAX_ARRAY_DEPTH} levels deep`,
      );
    }
    const id = reader.uint32();
    const type = VALUE_TYPES[id];
    if (type === undefined) {
      throw this.#damaged(`${reader.place} is an array of the unknown value type ${id}`);
    }
    const length = reader.count("array length", LEAST_VALUE_BYTES[type], MAX_ARRAY_VALUES);
    this.#arrayValues += length;
    if (this.#arrayValues > MAX_ARRAY_VALUES) {
      throw this.#damaged(
        `with ${reader.place}, the arrays exceed the limit of ${MAX_ARRAY_VALUES} values in total`,
      );
    }
    if (type === "string") return reader.strings("value", length, MAX_STRING_BYTES);
    // Allocate the final size: growing by push would leave as much garbage again.
    const values = new Array<MetadataValue>(length);
    for (let i = 0; i < length; i++) values[i] = this.#value(id, depth);
    return values;
  }

  #setAlignment(id: number, value: MetadataValue): void {
    if (VALUE_TYPES[id] !== "uint32") {
      throw this.#damaged(`key 'general.alignment' has type ${VALUE_TYPES[id]}, not uint32`);
    }
    const alignment = value as number;
    if (alignment % 8 !== 0 || alignment === 0 || alignment > MAX_ALIGNMENT) {
      throw this.#damaged(
        `key 'general.alignment' is ${alignment}, not a multiple of 8 up to ${MAX_ALIGNMENT}`,
      );
    }
    this.#alignment = alignment;
  }

  /** Reads one entry of the table; its offset is still relative to the data section. */
  #tensor(place: string): GgufTensor {
    const reader = this.#reader;
    reader.place = place;
    const name = reader.string("name", MAX_KEY_BYTES);
    const tensor = reader.place = `tensor ${quote(name)}`;
    if (name === "") throw this.#damaged(`${place} has no name`);
    if (new TextEncoder().encode(name).length > MAX_TENSOR_NAME_BYTES) {
      throw this.#damaged(`${tensor} has a name longer than ${MAX_TENSOR_NAME_BYTES} bytes`);
    }
    const dimensions = reader.uint32();
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw this.#damaged(`${tensor} has ${dimensions} dimensions, not 1 to ${MAX_DIMENSIONS}`);
    }
    const sizes = Array.from({ length: dimensions }, () => reader.uint64());
    let weights = 1;
    for (const size of sizes) {
      weights *= Number(size);
      if (weights === 0 || !Number.isSafeInteger(weights)) {
        throw this.#damaged(
          `${tensor} has the size ${sizes.join(" × ")}, which is 0 or too large`,
        );
      }
    }
    const shape = sizes.map(Number).reverse();
    const type = this.#tensorType(tensor, reader.uint32());
    const isKnown = type in GGML_LAYOUT;
    if (isKnown && shape.at(-1)! % GROUP_LAYOUT[type].weights !== 0) {
      throw this.#damaged(
        `${tensor} has rows of ${shape.at(-1)} weights, not a multiple of ` +
          `${GROUP_LAYOUT[type].weights}, the group size of ${type}`,
      );
    }
    const byteLength = isKnown ? packedBytes(type, weights) : 0;
    const byteOffset = reader.uint64();
    if (typeof byteOffset === "bigint" || byteOffset + byteLength > this.file.size) {
      throw this.#pastEnd(tensor, byteLength, `offset ${byteOffset} of the data section`);
    }
    if (byteOffset % this.#alignment !== 0) {
      throw this.#damaged(
        `${tensor} is at offset ${byteOffset}, not a multiple of the alignment ${this.#alignment}`,
      );
    }
    return { name, type, shape, byteOffset, byteLength };
  }

  #tensorType(tensor: string, id: number): TensorType {
    const type = TENSOR_TYPE_NAMES[id] ?? (this.anyType ? `type ${id}` : undefined);
    if (type === undefined) {
      throw this.#unsupported(
        `${tensor} has the unknown type ${id}; the file is damaged or newer than tvllm`,
      );
    }
    if (type in GGML_LAYOUT || this.anyType) return type as TensorType;
    throw this.#unsupported(
      `${tensor} has type ${type}` +
        (REMOVED_TENSOR_TYPES.has(type) ? ", which was removed from GGUF" : "") +
        `; use a version of the model in one of these types: ${
          Object.keys(GGML_LAYOUT).join(", ")
        }`,
    );
  }

  /**
   * Checks that tensors are within the file, have different names, and follow one another in the
   * table's order with only padding between them, as ggml requires. A gap means that a type or a
   * size is wrong, so that the weights after it would be misread.
   */
  #checkPlacement(tensors: readonly GgufTensor[], dataStart: number): void {
    const names = new Set<string>();
    for (const { name } of tensors) {
      if (names.has(name)) throw this.#damaged(`tensor ${quote(name)} occurs twice`);
      names.add(name);
    }
    let end = dataStart, before = "the header";
    for (const tensor of tensors) {
      const name = `tensor ${quote(tensor.name)}`;
      const expected = Math.ceil(end / this.#alignment) * this.#alignment;
      if (tensor.byteOffset !== expected) {
        throw this.#damaged(
          `${name} at byte ${tensor.byteOffset} ` +
            (tensor.byteOffset < end
              ? `overlaps ${before}`
              : `leaves a gap after ${before}, which ends at byte ${end}`),
        );
      }
      end = tensor.byteOffset + tensor.byteLength;
      before = name;
      if (end > this.file.size) {
        throw this.#pastEnd(name, tensor.byteLength, `byte ${tensor.byteOffset}`);
      }
    }
  }

  #pastEnd(tensor: string, byteLength: number, from: string): Error {
    return this.file.fault(
      `${tensor} needs ${byteLength} ${plural(byteLength, "byte")} from ${from}, ` +
        `beyond the end of the file (${this.file.size} ${plural(this.file.size, "byte")}); ` +
        `the file is cut short or damaged: download it again`,
    );
  }

  #damaged(detail: string): Error {
    return this.file.fault(`${detail}; the file is damaged: download it again`);
  }

  #unsupported(detail: string): UnsupportedError {
    return new UnsupportedError(`Cannot read ${printable(this.file.path)}: ${detail}`);
  }
}
