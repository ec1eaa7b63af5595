/** Loads a model's tensors onto the device, by name: matrices packed, vectors as float32. */

import { dequantize } from "../../kernels/dequantize.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import { ModelFormatError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import { createBuffer, Uploader } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { allocateMatrix, type DeviceMatrix, type MatrixLayout, UploadMemory } from "./matrix.ts";

/**
 * The weights of one file on the device. Buffers are allocated when the model requests them, and
 * `upload()` fills all of them later. If writes and allocations alternated, the staging memory of
 * each write would leave a hole before the next buffer, up to a third of the size of all weights.
 */
export class Weights {
  readonly #fills: ((memory: UploadMemory) => Iterable<void>)[] = [];
  readonly #uploader: Uploader;
  #bytes = 0;

  /**
   * @param options.tile tile of the matrices; see MatrixLayout
   * @param options.progress called with the bytes read so far
   */
  constructor(
    readonly gpu: Gpu,
    readonly file: ModelFile,
    readonly options: {
      readonly tile: number;
      readonly progress?: ((bytes: number) => void) | undefined;
    },
  ) {
    this.#uploader = new Uploader(gpu);
  }

  /** Fills all allocated buffers; may be called again. */
  upload(): void {
    for (const _ of this.uploads());
  }

  /** Fills all allocated buffers, one piece per iteration. */
  *uploads(): Generator<void> {
    const memory = new UploadMemory();
    this.#bytes = 0;
    for (const fill of this.#fills) yield* fill(memory);
    this.#uploader.flush();
  }

  type(name: string): TensorType {
    return this.#tensor(name).type;
  }

  /**
   * Returns one matrix from the rows of all named tensors, which must have the same type and row
   * length.
   */
  matrix(...names: string[]): DeviceMatrix {
    return this.#make(names);
  }

  /** Returns gates and ups as one matrix whose rows alternate. */
  gateUp(gate: string, up: string): DeviceMatrix {
    return this.#make([gate, up], { interleaved: true });
  }

  /**
   * Returns the matrices of all experts as one; no expert is split between parts. Rows of gates and
   * ups alternate.
   */
  experts(name: string, up?: string): DeviceMatrix {
    const names = up === undefined ? [name] : [name, up];
    const together = this.#tensor(name).shape[1]! * names.length;
    return this.#make(names, { interleaved: up !== undefined, together });
  }

  /** Returns a buffer with the tensors' elements, one after the other, as float32. */
  vector(...names: string[]): GPUBuffer {
    return this.#vector(names, 1);
  }

  /** Returns a buffer with the tensor's elements multiplied by `scale`. */
  scaledVector(name: string, scale: number): GPUBuffer {
    return this.#vector([name], scale);
  }

  #vector(names: readonly string[], scale: number): GPUBuffer {
    const parts = names.map((name) => this.floats(name).map((value) => value * scale));
    const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    const buffer = createBuffer(this.gpu, {
      label: names.join("+"),
      bytes: all.byteLength,
      purpose: "weights",
    });
    this.#fills.push(() => {
      this.#uploader.write(buffer, 0, all);
      this.#count(names.map((name) => this.#tensor(name)));
      return [];
    });
    return buffer;
  }

  /** Returns a small tensor as float32, for the host. */
  floats(name: string): Float32Array {
    const tensor = this.#tensor(name);
    const bytes = new Uint8Array(tensor.byteLength);
    this.file.read(tensor, 0, bytes);
    assertFinite(this.file, tensor, { bytes });
    const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
    dequantize(tensor.type, bytes, values);
    return values;
  }

  #make(names: readonly string[], layout: Omit<MatrixLayout, "tile"> = {}): DeviceMatrix {
    const tensors = names.map((name) => this.#tensor(name));
    const { gpu, file, options: { tile } } = this;
    const { matrix, fill } = allocateMatrix(gpu, { file, tensors }, { tile, ...layout });
    this.#fills.push((memory) => this.#upload(fill(this.#uploader, memory), tensors));
    return matrix;
  }

  *#upload(pieces: Iterable<void>, tensors: readonly TensorInfo[]): Generator<void> {
    yield* pieces;
    this.#count(tensors);
  }

  #count(tensors: readonly TensorInfo[]): void {
    for (const { byteLength } of tensors) this.#bytes += byteLength;
    this.options.progress?.(this.#bytes);
  }

  #tensor(name: string): TensorInfo {
    const tensor = this.file.tensors.get(name);
    if (tensor === undefined) {
      throw new ModelFormatError(`Cannot find tensor '${name}' in ${this.file.paths[0]}`);
    }
    return tensor;
  }
}
