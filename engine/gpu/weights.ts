/** A model's tensors on the device, by name: matrices packed, vectors in float32. */

import { dequantize } from "../../kernels/dequantize.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import { ModelFormatError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import { createBuffer, Uploader } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { allocateMatrix, type DeviceMatrix, type MatrixLayout, UploadMemory } from "./matrix.ts";

/**
 * The weights of one file on the device. Buffers are made as a model asks for them, and filled
 * together by `upload()`: what a write stages lies where the next buffer is made, and would leave
 * holes between them, up to a third of the weights in all.
 */
export class Weights {
  readonly #fills: ((memory: UploadMemory) => Iterable<void>)[] = [];
  readonly #uploader: Uploader;
  #bytes = 0;

  /**
   * @param options.tile of matrices; see MatrixLayout
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

  /** Fills the buffers that were made; it may do so again. */
  upload(): void {
    for (const _ of this.uploads());
  }

  /** Fills them piece by piece. */
  *uploads(): Generator<void> {
    const memory = new UploadMemory();
    this.#bytes = 0;
    for (const fill of this.#fills) yield* fill(memory);
    this.#uploader.flush();
  }

  type(name: string): TensorType {
    return this.#tensor(name).type;
  }

  /** One matrix of the tensors' rows, which must be of one type and length. */
  matrix(...names: string[]): DeviceMatrix {
    return this.#make(names);
  }

  /** Gates and ups as one matrix whose rows alternate. */
  gateUp(gate: string, up: string): DeviceMatrix {
    return this.#make([gate, up], { interleaved: true });
  }

  /** All experts' matrices, none of them cut by parts; rows of gates and ups alternate. */
  experts(name: string, up?: string): DeviceMatrix {
    const names = up === undefined ? [name] : [name, up];
    const together = this.#tensor(name).shape[1]! * names.length;
    return this.#make(names, { interleaved: up !== undefined, together });
  }

  /** The tensors' elements, one after the other, in float32. */
  vector(...names: string[]): GPUBuffer {
    return this.#vector(names, 1);
  }

  /** The tensor's elements times `scale`. */
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

  /** A small tensor in float32, for the host. */
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
