/** A model's tensors on the device, by name: matrices packed, vectors in float32. */

import { dequantize } from "../../kernels/dequantize.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import { ModelFormatError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import { bufferOf, Uploader } from "../gpu/buffers.ts";
import type { Gpu } from "../gpu/device.ts";
import { type DeviceMatrix, uploadMatrix, UploadMemory } from "./device_matrix.ts";

/** Uploads the weights of one file as a model asks for them. */
export class Weights {
  readonly uploader: Uploader;
  readonly #memory = new UploadMemory();
  #bytes = 0;

  /** @param progress called with the bytes read so far */
  constructor(
    readonly gpu: Gpu,
    readonly file: ModelFile,
    readonly tile: number,
    readonly progress?: (bytes: number) => void,
  ) {
    this.uploader = new Uploader(gpu);
  }

  type(name: string): TensorType {
    return this.#tensor(name).type;
  }

  /** One matrix of the tensors' rows, which must be of one type and length. */
  matrix(...names: string[]): DeviceMatrix {
    return this.#upload(names);
  }

  /** Gates and ups as one matrix, row by row by turns. */
  gateUp(gate: string, up: string): DeviceMatrix {
    return this.#upload([gate, up], 1);
  }

  /** The tensors' elements, one after the other, in float32. */
  vector(...names: string[]): GPUBuffer {
    const parts = names.map((name) => this.floats(name));
    const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#count(names.map((name) => this.#tensor(name)));
    return bufferOf(this.gpu, names.join("+"), all, "weights");
  }

  /** A small tensor in float32, for the host. */
  floats(name: string): Float32Array {
    const tensor = this.#tensor(name);
    const bytes = new Uint8Array(tensor.byteLength);
    this.file.read(tensor, 0, bytes);
    assertFinite(this.file, tensor, 0, bytes);
    const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
    dequantize(tensor.type, bytes, values);
    return values;
  }

  #upload(names: readonly string[], interleave?: number): DeviceMatrix {
    const { gpu, uploader, file, tile } = this;
    const tensors = names.map((name) => this.#tensor(name));
    const matrix = uploadMatrix(gpu, uploader, file, tensors, tile, this.#memory, interleave);
    this.#count(tensors);
    return matrix;
  }

  #count(tensors: readonly TensorInfo[]): void {
    for (const { byteLength } of tensors) this.#bytes += byteLength;
    this.progress?.(this.#bytes);
  }

  #tensor(name: string): TensorInfo {
    const tensor = this.file.tensors.get(name);
    if (tensor === undefined) {
      throw new ModelFormatError(`Cannot find tensor '${name}' in ${this.file.paths[0]}`);
    }
    return tensor;
  }
}
