/**
 * Uploads matrices from a model file to device buffers, in pieces, packed as the kernels read them.
 */

import { PackArena, packedWords, packRows } from "../../kernels/pack.ts";
import { packedBytes, type TensorType } from "../../kernels/tensor_types.ts";
import { DeviceError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import { createBuffer, largestBuffer, type Uploader } from "./buffers.ts";
import type { Gpu } from "./device.ts";

// Large enough for full upload speed, small enough to limit the memory of a load.
const PIECE_BYTES = 2 << 20;

/** Some rows of a matrix, in buffers that do not exceed the adapter's binding limit. */
export interface MatrixPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly quants: GPUBuffer;
  /** Undefined if the format has no scales. */
  readonly scales: GPUBuffer | undefined;
}

/** A matrix on the device; it has several parts if one would exceed the binding limit. */
export interface DeviceMatrix {
  readonly type: TensorType;
  readonly rows: number;
  readonly columns: number;
  readonly parts: readonly MatrixPart[];
}

/** Host memory that the uploads of one model reuse, one after the other. */
export class UploadMemory {
  readonly arena = new PackArena();
  #bytes = new Uint8Array(0);

  /** Returns a buffer for rows in the file's format. */
  rows(bytes: number): Uint8Array<ArrayBuffer> {
    if (this.#bytes.length < bytes) this.#bytes = new Uint8Array(bytes);
    return this.#bytes.subarray(0, bytes);
  }
}

/** A matrix whose buffers are allocated, and the function that uploads its weights. */
export interface MatrixUpload {
  readonly matrix: DeviceMatrix;
  /** Uploads one piece at each iteration. */
  fill(uploader: Uploader, memory: UploadMemory): Iterable<void>;
}

/** How to combine the rows of several tensors into one matrix. */
export interface MatrixLayout {
  /** Groups of four rows that are adjacent in memory; see kernels/tuning.ts. */
  readonly tile: number;
  /**
   * Whether the rows of the tensors, which have equal sizes, alternate; otherwise the tensors
   * follow each other.
   */
  readonly interleaved?: boolean;
  /** Number of consecutive rows that must be in one buffer; a multiple of the rows of a tile. */
  readonly together?: number;
}

/**
 * Allocates the buffers of one matrix made from tensors of the same type and row length.
 *
 * @throws {DeviceError} "out-of-memory" if rows that must be together exceed the binding limit.
 */
export function allocateMatrix(
  gpu: Gpu,
  { file, tensors }: { readonly file: ModelFile; readonly tensors: readonly TensorInfo[] },
  { tile, interleaved = false, together }: MatrixLayout,
): MatrixUpload {
  const [first] = tensors;
  if (first === undefined) throw new RangeError("Cannot upload a matrix without tensors");
  const { type } = first;
  const columns = first.shape.at(-1) ?? 1;
  const rowBytes = packedBytes(type, columns);
  const rows = tensors.reduce((sum, t) => sum + t.byteLength / rowBytes, 0);
  const label = tensors.map((t) => t.name).join("+");
  const tileRows = 4 * tile;
  const tileWords = packedWords(type, { rows: tileRows, columns, tile });
  // Parts and pieces contain whole tiles, and equally many rows of each interleaved tensor.
  const stride = interleaved ? tensors.length : 1;
  const step = tileRows * stride;
  const unit = together ?? step;
  const partRows = Math.floor(largestBuffer(gpu) / (tileWords.quants * 4) * tileRows / unit) * unit;
  if (partRows === 0) {
    throw new DeviceError(
      "out-of-memory",
      `Cannot upload '${label}': ${gpu.description} can bind at most ${
        largestBuffer(gpu)
      } bytes, fewer than ${unit} of its rows need`,
    );
  }
  const parts: MatrixPart[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
    const count = Math.min(partRows, rows - firstRow);
    const size = packedWords(type, { rows: count, columns, tile });
    const quants = createBuffer(gpu, {
      label: `${label} quants`,
      bytes: size.quants * 4,
      purpose: "weights",
    });
    const scales = size.scales > 0
      ? createBuffer(gpu, { label: `${label} scales`, bytes: size.scales * 4, purpose: "weights" })
      : undefined;
    parts.push({ firstRow, rows: count, quants, scales });
  }

  function* fill(uploader: Uploader, memory: UploadMemory): Generator<void> {
    const read = interleaved ? readInterleaved : readRows;
    const pieceRows = Math.max(1, Math.floor(PIECE_BYTES / rowBytes / step)) * step;
    const bytes = memory.rows(Math.min(pieceRows, rows) * rowBytes);
    for (const { firstRow, rows: count, quants, scales } of parts) {
      for (let row = 0; row < count; row += pieceRows) {
        const pieceCount = Math.min(pieceRows, count - row);
        const piece = bytes.subarray(0, pieceCount * rowBytes);
        read({ file, tensors, rowBytes }, firstRow + row, piece);
        const packed = packRows(type, piece, {
          rows: pieceCount,
          columns,
          tile,
          arena: memory.arena,
          tensors: stride,
        });
        const tiles = row / tileRows;
        uploader.write(quants, tiles * tileWords.quants * 4, packed.quants);
        if (scales) uploader.write(scales, tiles * tileWords.scales * 4, packed.scales);
        yield;
      }
    }
  }
  return { matrix: { type, rows, columns, parts }, fill };
}

interface Rows {
  readonly file: ModelFile;
  readonly tensors: readonly TensorInfo[];
  readonly rowBytes: number;
}

// Fills `into` with the rows from `row` on, for tensors that follow each other.
function readRows({ file, tensors, rowBytes }: Rows, row: number, into: Uint8Array): void {
  const count = into.length / rowBytes;
  let done = 0;
  let start = 0;
  for (const tensor of tensors) {
    const rows = tensor.byteLength / rowBytes;
    const from = Math.max(row, start);
    const to = Math.min(row + count, start + rows);
    if (to > from) {
      const bytes = (to - from) * rowBytes;
      readFinite(file, tensor, {
        offset: (from - start) * rowBytes,
        into: into.subarray(done, done + bytes),
      });
      done += bytes;
    }
    start += rows;
  }
}

// The same for tensors whose rows alternate. Writes all rows of one tensor, then all of the next,
// as packRows expects.
function readInterleaved({ file, tensors, rowBytes }: Rows, row: number, into: Uint8Array): void {
  const bytes = into.length / tensors.length;
  const offset = row / tensors.length * rowBytes;
  for (const [i, tensor] of tensors.entries()) {
    readFinite(file, tensor, { offset, into: into.subarray(i * bytes, (i + 1) * bytes) });
  }
}

function readFinite(
  file: ModelFile,
  tensor: TensorInfo,
  { offset, into }: { readonly offset: number; readonly into: Uint8Array },
): void {
  file.read(tensor, offset, into);
  assertFinite(file, tensor, { bytes: into, offset });
}
