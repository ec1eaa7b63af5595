/**
 * Converts weights that MLX has quantized to tensors of types that the engine supports. MLX stores
 * a matrix in three tensors. `.weight` contains the quants, in order, in 32-bit words. `.scales`
 * and `.biases` contain one value for each group of a row's weights: w = scale · quant + bias,
 * where quants are unsigned.
 * Source: `quantize` in MLX's documentation, and the config.json that mlx-lm writes.
 */

import { dequantize } from "../../kernels/dequantize.ts";
import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { ModelFormatError, UnsupportedError } from "../errors.ts";
import { isObject, type JsonObject, type JsonValue } from "./json.ts";
import type { ModelFile, TensorInfo } from "./model_file.ts";
import { printable, quote } from "./quote.ts";

/**
 * Types to which matrices with quants of 4 and 8 bits are converted, by group size. The quants stay
 * the same; scales and biases become float16.
 */
const READ_AS: ReadonlyMap<number, Readonly<Record<4 | 8, TensorType>>> = new Map([
  [32, { 4: "Q4_1", 8: "MLX8_32" }],
  [64, { 4: "MLX4_64", 8: "MLX8_64" }],
  [128, { 4: "MLX4_128", 8: "MLX8_128" }],
]);
/** Bits in which quants of each width are stored: the next larger of 4 and 8 keeps their values. */
const KEPT_IN: ReadonlyMap<number, 4 | 8> = new Map([[3, 4], [4, 4], [5, 8], [6, 8], [8, 8]]);

/**
 * Largest allowed change of a weight when scales and biases become float16, as a fraction of the
 * tensor's largest weight: the error of rounding to bfloat16. Scales of groups of zeros may be too
 * small for float16; losing them changes the weights by less.
 */
const MOST_CHANGE = 2 ** -9;

const ROWS_AT_ONCE = 1024;

/** One scale and one bias for each group. */
interface Affine<T> {
  readonly scales: T;
  readonly biases: T;
}

/** A matrix, stored in MLX's three tensors. */
interface Packed {
  readonly weight: TensorInfo;
  readonly scales: TensorInfo;
  readonly biases: TensorInfo;
  readonly bits: number;
  readonly type: TensorType;
}

/** A model file whose packed matrices appear as single tensors. They can be read by whole rows. */
export class MlxTensors implements ModelFile {
  readonly format = "safetensors";
  readonly paths: readonly string[];
  readonly byteLength: number;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #packed = new Map<TensorInfo, Packed>();
  readonly #bounds = new Map<Packed, number>();

  /**
   * @param raw the model with its original tensors
   * @param words names of the tensors of 32-bit words
   * @param config content of config.json, whose `quantization` describes how weights are packed
   * @throws {ModelFormatError} if scales or biases are missing or have the wrong shape.
   * @throws {UnsupportedError} if the bits, group size or mode are not supported.
   */
  constructor(readonly raw: ModelFile, words: ReadonlySet<string>, config: JsonObject) {
    this.paths = raw.paths;
    this.byteLength = raw.byteLength;
    const tensors = new Map(raw.tensors);
    const { quantization } = config;
    const widths = new Map(isObject(quantization) ? Object.entries(quantization) : []);
    for (const name of words) {
      const packed = this.#find(name, widths);
      const { weight: { shape: words }, bits, type } = packed;
      const shape = words.with(-1, words.at(-1)! * 32 / bits);
      const byteLength = packedBytes(type, shape.reduce((a, b) => a * b));
      const tensor = { ...packed.weight, type, shape, byteLength };
      this.#packed.set(tensor, packed);
      tensors.set(name, tensor);
      tensors.delete(packed.scales.name);
      tensors.delete(packed.biases.name);
    }
    this.tensors = tensors;
  }

  get metadata() {
    return this.raw.metadata;
  }

  read(tensor: TensorInfo, offset: number, into: Uint8Array): void {
    const packed = this.#packed.get(tensor);
    if (packed === undefined) return this.raw.read(tensor, offset, into);
    const rows = rowsOf(tensor);
    const rowBytes = tensor.byteLength / rows;
    const first = offset / rowBytes;
    const count = into.length / rowBytes;
    if (!Number.isInteger(first) || !Number.isInteger(count) || first + count > rows) {
      throw new RangeError(
        `Cannot read tensor ${quote(tensor.name)}: bytes ${offset} to ${offset + into.length} ` +
          `are not whole rows (it has ${rows})`,
      );
    }
    const words = widened(
      new Uint32Array(this.#rows(packed.weight, first, count).buffer),
      packed.bits,
    );
    const scales = this.#floats(packed.scales, first, count);
    const biases = this.#floats(packed.biases, first, count);
    const halves = { scales: new Float16Array(scales), biases: new Float16Array(biases) };
    this.#checkHalves(packed, { scales, biases }, halves);
    const out = new Uint32Array(into.length / 4);
    toGroups({
      words,
      scales: new Uint16Array(halves.scales.buffer),
      biases: new Uint16Array(halves.biases.buffer),
      bits: KEPT_IN.get(packed.bits)!,
    }, out);
    into.set(new Uint8Array(out.buffer));
  }

  close(): void {
    this.raw.close();
  }

  #rows(tensor: TensorInfo, first: number, count: number): Uint8Array<ArrayBuffer> {
    const rowBytes = tensor.byteLength / rowsOf(tensor);
    const bytes = new Uint8Array(count * rowBytes);
    this.raw.read(tensor, first * rowBytes, bytes);
    return bytes;
  }

  #floats(tensor: TensorInfo, first: number, count: number): Float32Array<ArrayBuffer> {
    const values = new Float32Array(count * tensor.shape.at(-1)!);
    dequantize(tensor.type, this.#rows(tensor, first, count), values);
    return values;
  }

  /**
   * Checks the conversion to float16: scales in bfloat16 or float32 may exceed its range, or be so
   * small that they lose their digits.
   *
   * @throws {UnsupportedError} if a weight would change by more than MOST_CHANGE times the largest.
   */
  #checkHalves(packed: Packed, exact: Affine<Float32Array>, halves: Affine<Float16Array>): void {
    const { name } = packed.weight, most = 2 ** packed.bits - 1;
    const rounded = affineFloats(halves);
    let limit: number | undefined;
    for (let i = 0; i < exact.scales.length; i++) {
      const scale = exact.scales[i]!, bias = exact.biases[i]!;
      const change = Math.abs(scale - rounded.scales[i]!) * most +
        Math.abs(bias - rounded.biases[i]!);
      // NaN and infinity come from the file; finite_weights.ts reports them.
      if (change === 0 || !Number.isFinite(scale) || !Number.isFinite(bias)) continue;
      limit ??= this.#largest(packed) * MOST_CHANGE;
      if (change <= limit) continue;
      throw new UnsupportedError(
        `Cannot run ${printable(this.paths[packed.weight.file]!)}: tensor ${
          quote(name)
        } has a group with scale ${scale} and bias ${bias}, which float16 cannot represent; ` +
          `use the unquantized model`,
      );
    }
  }

  /** Returns an upper bound of the absolute values of a matrix's weights. */
  #largest(packed: Packed): number {
    let largest = this.#bounds.get(packed);
    if (largest !== undefined) return largest;
    largest = 0;
    const rows = rowsOf(packed.scales);
    for (let first = 0; first < rows; first += ROWS_AT_ONCE) {
      const count = Math.min(ROWS_AT_ONCE, rows - first);
      const scales = this.#floats(packed.scales, first, count);
      const biases = this.#floats(packed.biases, first, count);
      for (let i = 0; i < scales.length; i++) {
        const bound = Math.abs(scales[i]!) * (2 ** packed.bits - 1) + Math.abs(biases[i]!);
        if (bound > largest && Number.isFinite(bound)) largest = bound;
      }
    }
    this.#bounds.set(packed, largest);
    return largest;
  }

  #find(name: string, widths: ReadonlyMap<string, JsonValue>): Packed {
    const stem = name.replace(/\.weight$/, "");
    const { bits, group, type } = this.#widths(stem, widths);
    const weight = this.raw.tensors.get(name)!;
    const fault = (detail: string) =>
      new ModelFormatError(
        `Cannot read ${
          printable(this.paths[weight.file]!)
        }: tensor ${detail}; download the model again`,
      );
    // Either a matrix or the stacked matrices of experts.
    if (![2, 3].includes(weight.shape.length) || weight.shape.includes(0)) {
      throw fault(
        `${quote(name)} has the shape '${weight.shape.join(" × ")}', which is not a matrix`,
      );
    }
    const shape = weight.shape.with(-1, weight.shape.at(-1)! * 32 / bits / group);
    const [scales, biases] = [`${stem}.scales`, `${stem}.biases`].map((part) => {
      const tensor = this.raw.tensors.get(part);
      if (tensor !== undefined && String(tensor.shape) === String(shape)) return tensor;
      throw fault(
        `${quote(part)} ` +
          `${tensor ? `has the shape ${tensor.shape.join(" × ")}` : "is missing"}; with ` +
          `${bits} bits in groups of ${group}, its shape must be ${shape.join(" × ")}`,
      );
    });
    return { weight, scales: scales!, biases: biases!, bits, type };
  }

  /** Returns bits, group size and type, from the tensor's own or the general settings. */
  #widths(
    stem: string,
    widths: ReadonlyMap<string, JsonValue>,
  ): { bits: number; group: number; type: TensorType } {
    const own = widths.get(stem);
    const [bits, group, mode = "affine"] = ["bits", "group_size", "mode"].map((key) =>
      (isObject(own) ? own[key] : undefined) ?? widths.get(key)
    );
    if (typeof bits === "number" && typeof group === "number" && mode === "affine") {
      const kept = KEPT_IN.get(bits);
      const type = kept && READ_AS.get(group)?.[kept];
      if (type !== undefined) return { bits, group, type };
    }
    throw new UnsupportedError(
      `Cannot run ${printable(this.paths[0]!)}: tensor ${quote(stem)} is quantized as ` +
        `${quote(JSON.stringify({ bits, group_size: group, mode }))}; use a model quantized ` +
        `with 3, 4, 5, 6 or 8 bits and groups of 32, 64 or 128`,
    );
  }
}

function rowsOf({ shape }: TensorInfo): number {
  return shape.slice(0, -1).reduce((a, b) => a * b, 1);
}

/** Converts whole arrays, because converting float16 values one by one is ten times slower. */
function affineFloats({ scales, biases }: Affine<Float16Array>): Affine<Float32Array> {
  return { scales: new Float32Array(scales), biases: new Float32Array(biases) };
}

/** Rows of MLX's three tensors: quants in words, scales and biases as float16 bits. */
interface MlxParts {
  readonly words: Uint32Array;
  readonly scales: Uint16Array;
  readonly biases: Uint16Array;
  readonly bits: number;
}

/** Repacks quants of 3, 5 or 6 bits as 4 or 8 bits; each word is filled from its lowest bits on. */
function widened(words: Uint32Array, bits: number): Uint32Array {
  const kept = KEPT_IN.get(bits)!;
  if (kept === bits) return words;
  const out = new Uint32Array(words.length * kept / bits);
  const mask = 2 ** bits - 1;
  const perWord = 32 / kept;
  for (let to = 0, at = 0; to < out.length; to++) {
    let packed = 0;
    for (let i = 0; i < perWord; i++, at += bits) {
      const [word, shift] = [at >>> 5, at & 31];
      let quant = words[word]! >>> shift;
      if (shift + bits > 32) quant |= words[word + 1]! << (32 - shift);
      packed |= (quant & mask) << (i * kept);
    }
    out[to] = packed;
  }
  return out;
}

/** Writes groups in the layout of a GGUF file: scale, bias and quants. */
function toGroups({ words, scales, biases, bits }: MlxParts, out: Uint32Array): void {
  const wordsPerGroup = words.length / scales.length;
  for (let group = 0, word = 0, to = 0; group < scales.length; group++) {
    out[to++] = scales[group]! | biases[group]! << 16;
    const end = word + wordsPerGroup;
    if (bits === 8) {
      while (word < end) out[to++] = words[word++]!;
    } else {
      // Of 32 quants, MLX stores number i in nibble i of four words; GGUF stores i and i + 16 in
      // byte i.
      for (; word < end; word += 4) {
        for (let half = word; half < word + 2; half++) {
          const low = words[half]!;
          const high = words[half + 2]!;
          out[to++] = spread(low & 0xffff) | spread(high & 0xffff) << 4;
          out[to++] = spread(low >>> 16) | spread(high >>> 16) << 4;
        }
      }
    }
  }
}

/** Spreads four nibbles over four bytes. */
function spread(nibbles: number): number {
  const pairs = (nibbles | nibbles << 8) & 0x00ff00ff;
  return (pairs | pairs << 4) & 0x0f0f0f0f;
}
