/** A WASM module with the kernels for one matrix and its own memory, for tests. */

import { RandomSource, randomWeights } from "../../engine/files/random_weights.ts";
import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { addEncoder, RECORD_BYTES } from "../../kernels/wasm/activations.ts";
import { ModuleBuilder } from "../../kernels/wasm/assembler.ts";
import {
  isFloat,
  matrixBytes,
  paddedColumns,
  paddedRows,
  STRIP_ROWS,
  stripLayout,
  WASM_FORMATS,
} from "../../kernels/wasm/formats.ts";
import { MATMUL, OFFSET_BYTES } from "../../kernels/wasm/matmul.ts";
import { addMatmul } from "../../kernels/wasm/matmul_integer.ts";
import { addFloatMatmul } from "../../kernels/wasm/matmul_float.ts";
import type { Fields } from "../../kernels/wasm/operation.ts";
import { encodingFor, type ProductForm } from "../../kernels/wasm/products.ts";
import { addRepack, REPACK } from "../../kernels/wasm/repack.ts";

const PAGES = 64;

/** Returns a matrix of random weights in the file format `type`. */
export function randomMatrix(type: TensorType, rows: number, cols: number) {
  const bytes = randomWeights(type, rows * cols, {
    deviation: 0.02,
    random: new RandomSource(5, type),
  });
  return { type, rows, cols, bytes };
}

type Call = (...values: (number | bigint)[]) => void;

interface Exports {
  repack: Call;
  matmul: Call;
  encode?: Call;
}

/** Repacks a matrix with the WASM kernels, and multiplies by it. */
export class WasmMatrix {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly #exports: Exports;
  readonly #wide: boolean;
  readonly #matrix: ReturnType<typeof randomMatrix>;
  /** Address of the repacked matrix in the memory. */
  readonly address: number;
  #end = 4096;

  constructor(
    matrix: ReturnType<typeof randomMatrix>,
    form: ProductForm,
    { wide = false } = {},
  ) {
    const { type, rows, cols, bytes } = matrix;
    const format = WASM_FORMATS[type];
    const module = new ModuleBuilder(wide);
    module.export("repack", addRepack(module, type));
    module.export(
      "matmul",
      isFloat(format) ? addFloatMatmul(module, format, form) : addMatmul(module, format, form),
    );
    if (!isFloat(format)) module.export("encode", addEncoder(module, encodingFor(format, form)));
    const descriptor = wide
      ? { initial: BigInt(PAGES), maximum: BigInt(PAGES), shared: true, address: "i64" }
      : { initial: PAGES, maximum: PAGES, shared: true };
    this.memory = new WebAssembly.Memory(descriptor as WebAssembly.MemoryDescriptor);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build(PAGES)), {
      env: { memory: this.memory },
    });
    this.#exports = instance.exports as unknown as Exports;
    this.#wide = wide;
    this.#matrix = matrix;
    this.view = new DataView(this.memory.buffer);
    const rowBytes = packedBytes(type, cols);
    const from = this.#allocate(paddedRows(rows) * rowBytes);
    this.address = this.#allocate(matrixBytes(type, rows, cols));
    new Uint8Array(this.memory.buffer).set(bytes, from);
    const { bytes: stripBytes, factors } = stripLayout(format, cols);
    this.#write(1024, REPACK, {
      columns: cols,
      rowBytes,
      stripBytes,
      factors,
      from,
      to: this.address,
    });
    this.#exports.repack(this.#pointer(1024), 0, paddedRows(rows) / STRIP_ROWS, 0);
  }

  /** Returns x · weightsᵀ: [tokens, rows]. */
  multiply(x: Float32Array): Float32Array {
    const { type, rows, cols } = this.#matrix;
    const format = WASM_FORMATS[type];
    const tokens = x.length / cols;
    const columns = paddedColumns(format, cols);
    const xStride = 4 * columns, yStride = 4 * paddedRows(rows);
    const encodedStride = columns / 32 * RECORD_BYTES;
    const floats = this.#allocate(tokens * xStride + 16);
    const encoded = this.#allocate(tokens * encodedStride);
    const y = this.#allocate(tokens * yStride);
    const numbers = this.#allocate(4 * tokens);
    const offsets = this.#allocate(columns / 32 * OFFSET_BYTES);
    for (let t = 0; t < tokens; t++) {
      this.view.setInt32(numbers + 4 * t, t, true);
      new Float32Array(this.memory.buffer, floats + t * xStride, cols)
        .set(x.subarray(t * cols, (t + 1) * cols));
      this.#exports.encode?.(
        this.#pointer(floats + t * xStride),
        this.#pointer(encoded + t * encodedStride),
        columns / 32,
      );
    }
    const { bytes: stripBytes, factors } = stripLayout(format, cols);
    const integers = this.#exports.encode !== undefined;
    this.#write(2048, MATMUL, {
      columns,
      tokens,
      stripBytes,
      factors,
      xStride: integers ? encodedStride : xStride,
      yStride,
      accumulate: 0,
      weights: this.address,
      x: integers ? encoded : floats,
      y,
      xRows: numbers,
      yRows: numbers,
      bias: 0,
      xThread: 0,
      offsets,
      offsetsThread: 0,
    });
    this.#exports.matmul(this.#pointer(2048), 0, paddedRows(rows) / STRIP_ROWS, 0);
    const out = new Float32Array(tokens * rows);
    for (let t = 0; t < tokens; t++) {
      out.set(new Float32Array(this.memory.buffer, y + t * yStride, rows), t * rows);
    }
    return out;
  }

  #allocate(bytes: number): number {
    const at = this.#end;
    this.#end += Math.ceil(bytes / 64) * 64;
    return at;
  }

  #pointer(at: number): number | bigint {
    return this.#wide ? BigInt(at) : at;
  }

  #write(at: number, fields: Fields, values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values)) {
      const { offset, kind } = fields[name]!;
      if (kind === "address") this.view.setBigUint64(at + offset, BigInt(value), true);
      else this.view.setInt32(at + offset, value, true);
    }
  }
}
