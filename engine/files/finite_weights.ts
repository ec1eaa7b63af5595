/** Finds NaN and infinity in packed weights while they are loaded, at several GB/s. */

import { GROUP_LAYOUT, type GroupLayout, type TensorType } from "../../kernels/tensor_types.ts";
import { ModelFormatError } from "../errors.ts";
import type { ModelFile, TensorInfo } from "./model_file.ts";
import { printable, quote } from "./quote.ts";

/** A format whose weights are integers times float16 scales, plus float16 minima. */
export type QuantizedType = Exclude<TensorType, "F32" | "F16" | "BF16">;

/**
 * Byte offsets of the float16 scale and, if there is one, the float16 minimum in a group.
 * Source: ggml-common.h. The layout of the MLX types is tvllm's own (tensor_types.ts).
 */
export const HALVES_AT: Readonly<Record<QuantizedType, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  MXFP4: [],
  MLX4_64: [0, 2],
  MLX4_128: [0, 2],
  MLX8_32: [0, 2],
  MLX8_64: [0, 2],
  MLX8_128: [0, 2],
};

/**
 * Checks `bytes`, which were read from a tensor at `offset`. `offset` and the number of bytes are
 * multiples of the size of a group.
 *
 * @throws {ModelFormatError} if a weight is NaN or infinite.
 */
export function assertFinite(
  file: ModelFile,
  tensor: TensorInfo,
  { bytes, offset = 0 }: { readonly bytes: Uint8Array; readonly offset?: number },
): void {
  const found = firstNonFinite(tensor.type, bytes);
  if (found < 0) return;
  const layout = GROUP_LAYOUT[tensor.type];
  const weight = offset / layout.bytes * layout.weights + found;
  throw new ModelFormatError(
    `Cannot use ${printable(file.paths[tensor.file]!)}: tensor ${quote(tensor.name)} has NaN or ` +
      `infinity at weight ${weight}; the file is damaged or was converted incorrectly: download or convert it again`,
  );
}

/**
 * Returns the index of the first weight that is NaN or infinite, or -1 if there is none. For a
 * quantized type, returns the index of the first weight in the affected group.
 */
export function firstNonFinite(type: TensorType, bytes: Uint8Array): number {
  // A Uint32Array needs an offset that is a multiple of 4.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  switch (type) {
    case "F32":
      return firstWord(aligned);
    case "F16":
      return firstHalf(aligned, 0x7c00);
    case "BF16":
      return firstHalf(aligned, 0x7f80);
    default:
      return firstGroup(type, aligned);
  }
}

function firstWord(bytes: Uint8Array): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < words.length; i++) if ((words[i]! & 0x7f800000) === 0x7f800000) return i;
  return -1;
}

/** @param exponent mask of the exponent bits, which are all set only in NaN and infinity */
function firstHalf(bytes: Uint8Array, exponent: number): number {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  const mask = exponent * 0x10001;
  let i = 0;
  // Tests two halves at once: adding 0x7fff to a half's inverted exponent bits sets its top bit,
  // unless all exponent bits were set.
  const tops = (word: number) => (((word & mask) ^ mask) + 0x7fff7fff) | 0;
  for (; i + 4 <= words.length; i += 4) {
    const four = tops(words[i]!) & tops(words[i + 1]!) & tops(words[i + 2]!) & tops(words[i + 3]!);
    if ((four & TOP_BITS) !== TOP_BITS) break;
  }
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  for (i *= 2; i < halves.length; i++) if ((halves[i]! & exponent) === exponent) return i;
  return -1;
}

const TOP_BITS = 0x80008000 | 0;

/** The only code of NaN in E8M0. */
const NO_EXPONENT = 255;

function firstExponent(bytes: Uint8Array, { bytes: step, weights }: GroupLayout): number {
  for (let i = 0; i < bytes.length; i += step) {
    if (bytes[i] === NO_EXPONENT) return i / step * weights;
  }
  return -1;
}

function firstGroup(type: QuantizedType, bytes: Uint8Array): number {
  const layout = GROUP_LAYOUT[type];
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  const step = layout.bytes / 2;
  if (type === "MXFP4") return firstExponent(bytes, layout);
  let first = Infinity;
  for (const at of HALVES_AT[type]) {
    for (let i = at / 2; i < halves.length; i += step) {
      if ((halves[i]! & 0x7c00) === 0x7c00) {
        first = Math.min(first, Math.floor(i / step) * layout.weights);
        break;
      }
    }
  }
  return first === Infinity ? -1 : first;
}
