/**
 * Reads the header of one safetensors file and checks it against the file's size.
 * Source: the format's description in the README of huggingface/safetensors.
 */

import { UnsupportedError } from "../errors.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import type { InputFile } from "./input_file.ts";
import { isObject, type JsonValue, parseJsonObject } from "./json.ts";
import { printable, quote } from "./quote.ts";
import { plural } from "../plural.ts";

/** A tensor's entry has about 120 bytes. The format's own limit is 100 MB. */
const MAX_HEADER_BYTES = 4 * 2 ** 20;
/**
 * Enough for 20,000 tensors with 4 keys and 8 values each. Qwen3-30B-A3B, which stores each expert
 * separately, has 18,867 tensors in all its shards.
 */
const HEADER_LIMITS = { keys: 80_000, values: 160_000 };
const MAX_DIMENSIONS = 8;

/** The types that tvllm reads, by the format's names. */
const TENSOR_TYPES: ReadonlyMap<string, TensorType> = new Map([
  ["F32", "F32"],
  ["F16", "F16"],
  ["BF16", "BF16"],
]);

/** The format's other types (`Dtype` in safetensors/src/tensor.rs). */
// deno-fmt-ignore
const OTHER_TYPES: ReadonlySet<string> = new Set([
  "BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "I16", "U16",
  "I32", "U32", "C64", "F64", "I64", "U64",
]);

/** Quantizations that pack weights into these types. */
const PACKED_BY: readonly (readonly [dtypes: RegExp, quantization: string])[] = [
  [/^I(32|64)$/, "GPTQ or AWQ"],
  [/^F8_E(4M3|5M2)$/, "FP8"],
  [/^(U8|F4|F8_E8M0)$/, "MXFP4, NVFP4 or bitsandbytes"],
];

/** One tensor; `byteOffset` is relative to the start of the file. */
export interface SafetensorsTensor {
  readonly name: string;
  /** F32 for a tensor of 32-bit words, whose size is the same. */
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** The header of one safetensors file. */
export interface SafetensorsHeader {
  readonly tensors: readonly SafetensorsTensor[];
  /** Names of tensors of 32-bit words (U32), into which MLX packs weights. */
  readonly words: readonly string[];
}

/**
 * Reads the header of `file`.
 *
 * @param options.packed accept tensors of 32-bit words
 * @param options.anyType accept tensors of types that tvllm cannot read, to inspect the table only
 * @throws {ModelFormatError} if it is not safetensors, is damaged, or refers to bytes past its end.
 * @throws {UnsupportedError} if a tensor has a type that tvllm does not read.
 */
export function readSafetensorsHeader(
  file: InputFile,
  { packed = false, anyType = false } = {},
): SafetensorsHeader {
  const json = headerBytes(file);
  const dataStart = 8 + json.length;
  const tensors: SafetensorsTensor[] = [];
  const words: string[] = [];
  const source = { file, what: "its header", bytes: json };
  const entries = Object.entries(parseJsonObject(source, HEADER_LIMITS));
  for (const [name, entry] of entries) {
    if (name === "__metadata__") checkMetadata(file, entry);
    else {
      const isWords = packed && isObject(entry) && entry["dtype"] === "U32";
      if (isWords) words.push(name);
      const known = isWords ? { ...entry, dtype: "F32" } : entry;
      tensors.push(readTensor({ file, dataStart, anyType }, name, known));
    }
  }
  checkPlacement(file, tensors, dataStart);
  return { tensors, words };
}

function headerBytes(file: InputFile): Uint8Array {
  const start = new Uint8Array(8);
  if (file.size < 8) {
    throw file.fault(
      `it has ${file.size} ${
        plural(file.size, "byte")
      }, too few for a header; it is cut short or not a safetensors file: download it again`,
    );
  }
  file.read(0, start);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > file.size - 8) {
    throw file.fault(
      `its header length ${length} is more than the ${file.size - 8} ${
        plural(file.size - 8, "byte")
      } left; ` +
        `it is cut short or not a safetensors file: download it again`,
    );
  }
  if (length > MAX_HEADER_BYTES) {
    throw file.fault(
      `its header length ${length} is above the limit of ${MAX_HEADER_BYTES} bytes; ` +
        `the file is damaged or not a language model`,
    );
  }
  const json = new Uint8Array(Number(length));
  file.read(8, json);
  if (json[0] !== 0x7b) {
    throw file.fault(
      `its header does not start with '{'; it is not a safetensors file: download it again`,
    );
  }
  return json;
}

/** Only checks the metadata: they contain nothing that the engine needs. */
function checkMetadata(file: InputFile, entry: JsonValue): void {
  if (isObject(entry) && Object.values(entry).every((value) => typeof value === "string")) return;
  throw damaged(file, "__metadata__ is not a JSON object of strings");
}

function readTensor(
  { file, dataStart, anyType }: {
    readonly file: InputFile;
    readonly dataStart: number;
    readonly anyType: boolean;
  },
  name: string,
  entry: JsonValue,
): SafetensorsTensor {
  const tensor = `tensor ${quote(name)}`;
  if (!isObject(entry)) throw damaged(file, `${tensor} is not a JSON object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string") throw damaged(file, `${tensor} has no dtype`);
  const isOther = anyType && OTHER_TYPES.has(dtype);
  const type = isOther ? dtype as TensorType : readType(file, tensor, dtype);
  if (!isSizes(shape) || shape.length > MAX_DIMENSIONS) {
    throw damaged(
      file,
      `${tensor} has the shape ${
        shown(shape)
      }, not an array of up to ${MAX_DIMENSIONS} whole numbers`,
    );
  }
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw damaged(file, `${tensor} has the data_offsets ${shown(offsets)}, not two whole numbers`);
  }
  const [begin, end] = offsets as readonly [number, number];
  if (begin > end || dataStart + end > file.size) {
    throw file.fault(
      `${tensor} has the data_offsets ${shown(offsets)}, which are reversed or past the end of ` +
        `the ${file.size - dataStart} ${
          plural(file.size - dataStart, "byte")
        } of data; the file is damaged or cut short: download it again`,
    );
  }
  const bytes = isOther ? end - begin : shape.reduce((a, b) => a * b, GROUP_LAYOUT[type].bytes);
  if (bytes !== end - begin) {
    throw damaged(
      file,
      `${tensor} has ${end - begin} ${
        plural(end - begin, "byte")
      }, but its shape and type require ${bytes}`,
    );
  }
  return { name, type, shape, byteOffset: dataStart + begin, byteLength: bytes };
}

function readType(file: InputFile, tensor: string, dtype: string): TensorType {
  const type = TENSOR_TYPES.get(dtype);
  if (type !== undefined) return type;
  if (!OTHER_TYPES.has(dtype)) {
    throw damaged(file, `${tensor} has the unknown dtype ${quote(dtype)}`);
  }
  throw new UnsupportedError(
    `Cannot read ${printable(file.path)}: ${tensor} has dtype ${dtype}${packedBy(dtype)}; ` +
      `use a version of the model in one of these types: ${[...TENSOR_TYPES.keys()].join(", ")}`,
  );
}

function packedBy(dtype: string): string {
  const found = PACKED_BY.find(([dtypes]) => dtypes.test(dtype));
  return found === undefined ? "" : `, which ${found[1]} quantization uses`;
}

/** Checks that the tensors fill the data section without gaps or overlaps. */
function checkPlacement(
  file: InputFile,
  tensors: readonly SafetensorsTensor[],
  dataStart: number,
): void {
  let end = dataStart;
  const inOrder = tensors.toSorted((a, b) =>
    a.byteOffset - b.byteOffset || a.byteLength - b.byteLength
  );
  for (const { name, byteOffset, byteLength } of inOrder) {
    if (byteOffset !== end) {
      const fault = byteOffset < end ? "overlaps the previous tensor" : "leaves a gap before it";
      throw damaged(file, `tensor ${quote(name)} at byte ${byteOffset} ${fault}`);
    }
    end += byteLength;
  }
  if (end !== file.size) {
    throw damaged(file, `its tensors end at byte ${end}, but the file ends at byte ${file.size}`);
  }
}

function isSizes(value: JsonValue | undefined): value is readonly number[] {
  return Array.isArray(value) &&
    value.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0);
}

function shown(value: JsonValue | undefined): string {
  return quote(JSON.stringify(value) ?? "missing");
}

function damaged(file: InputFile, detail: string): Error {
  return file.fault(`${detail}; the file is damaged: download it again`);
}
