/**
 * Reads weights and packs them. While the threads pack one piece of a matrix, the caller reads the
 * next one.
 */

import { dequantize } from "../../kernels/dequantize.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { paddedColumns, paddedRows, SPAN_COLUMNS, STRIP_ROWS } from "../../kernels/wasm/formats.ts";
import type { KernelIndex } from "../../kernels/wasm/module.ts";
import { JOIN, OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { REPACK } from "../../kernels/wasm/repack.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import type { Pause } from "../run/event_loop.ts";
import { CACHE_LINE, type Layout } from "./memory.ts";
import type { ThreadPool } from "./thread_pool.ts";
import type { Matrix } from "./matrix.ts";

/** A tensor to read, either into consecutive matrices or into a vector. */
export type Pending =
  | { readonly tensor: TensorInfo; readonly matrices: readonly Matrix[] }
  | {
    readonly tensor: TensorInfo;
    readonly vector: number;
    readonly scale: number;
    /** Elements per row of the tensor, which is transposed while it is read; 1: not transposed. */
    readonly rowLength: number;
  };

/** Bytes of a tensor that are read and packed as one piece. */
const PIECE_BYTES = 4 * 2 ** 20;
/** Maximum number of pieces that are read ahead. */
const MOST_AHEAD = 128;

/** Rows of a matrix that are read and packed together. */
interface Piece {
  readonly tensor: TensorInfo;
  /** Byte offset in the tensor. */
  readonly offset: number;
  readonly matrix: Matrix;
  readonly row: number;
  readonly rows: number;
}

/**
 * A piece to read, the address that it is read to, and the address of the operation that packs it.
 */
interface Reading {
  readonly piece: Piece;
  readonly to: number;
  readonly operation: number;
  /** Whether it is the last of a list, after which threads wait for each other. */
  readonly last: boolean;
}

/** Addresses that pieces are read to, and the address of the operations that pack them. */
interface Staging {
  readonly slots: readonly [number, number];
  readonly operations: number;
}

export interface LoadOptions {
  /** Called with the bytes read so far. */
  readonly progress?: ((bytes: number) => void) | undefined;
  /** Called after each piece. An error that it throws ends the load. */
  readonly pause?: Pause | undefined;
  /** Called once, while the workers pack the pieces that were read first. */
  readonly meanwhile?: (() => void) | undefined;
}

export class WeightLoader {
  readonly #staging: Staging;

  /** Allocates its staging memory in the layout, after all weights. */
  constructor(readonly file: ModelFile, readonly pending: readonly Pending[], layout: Layout) {
    const largest = pending.flatMap((entry) =>
      "matrices" in entry ? entry.matrices.map(pieceBytes) : []
    );
    const slot = () => layout.allocate(Math.max(...largest));
    const slots = [slot(), slot()] as const;
    this.#staging = {
      slots,
      operations: layout.allocate((MOST_AHEAD + slots.length) * OPERATION_BYTES),
    };
  }

  /**
   * Reads and packs everything. When it returns, all workers have started.
   *
   * @throws {ModelFormatError} if a weight is not finite, or the file was truncated.
   */
  async load(pool: ThreadPool, index: KernelIndex, options: LoadOptions = {}): Promise<void> {
    const { progress = () => {}, pause = () => {}, meanwhile } = options;
    const { slots, operations } = this.#staging;
    const pieces = this.pending.flatMap((entry) => "matrices" in entry ? piecesOf(entry) : []);
    let bytes = 0;
    const read = async (reading: Reading) => {
      this.#read(pool, index, reading);
      progress(bytes += reading.piece.rows * rowBytes(reading.piece.matrix));
      await pause();
    };
    const ahead = aheadOf(pieces, slots[0]);
    for (const [i, to] of ahead.entries()) {
      const operation = operations + i * OPERATION_BYTES;
      await read({ piece: pieces[i]!, to, operation, last: i === ahead.length - 1 });
    }
    pool.begin(operations, ahead.length);
    meanwhile?.();
    await pool.ready();
    try {
      for (const [i, piece] of pieces.slice(ahead.length).entries()) {
        // The other slot is in use.
        const turn = i % slots.length;
        const operation = operations + (MOST_AHEAD + turn) * OPERATION_BYTES;
        await read({ piece, to: slots[turn]!, operation, last: true });
        pool.finish();
        pool.begin(operation, 1);
      }
    } finally {
      pool.finish();
    }
    for (const entry of this.pending) {
      if ("matrices" in entry) continue;
      const { tensor, vector, scale, rowLength } = entry;
      const values = readVector(this.file, tensor).map((value) => value * scale);
      const place = pool.memory.floatsAt(vector, vectorLength(values.length));
      place.fill(0, values.length); // Pieces may have been staged here.
      place.set(transposed(values, rowLength));
      progress(bytes += tensor.byteLength);
    }
  }

  /** Reads a piece, and writes the operation that packs it. */
  #read(
    { memory, threads }: ThreadPool,
    index: KernelIndex,
    { piece, to, operation, last }: Reading,
  ): void {
    const { tensor, offset, matrix, rows } = piece;
    const { type, columns, layout } = matrix;
    const length = rows * rowBytes(matrix);
    const bytes = memory.bytes.subarray(to, to + length);
    this.file.read(tensor, offset, bytes);
    assertFinite(this.file, tensor, { bytes, offset });
    memory.bytes.fill(0, to + length, to + paddedRows(rows) * rowBytes(matrix));
    const place = packedTo(piece), units = paddedRows(rows) / STRIP_ROWS;
    if (columns < paddedColumns(matrix.format, columns)) {
      memory.bytes.fill(0, place, place + units * layout.bytes);
    }
    memory.writeOperation(
      operation,
      {
        kernel: index.repack.get(type)!,
        units,
        chunk: Math.ceil(units / (4 * threads)),
        flags: last ? JOIN : 0,
      },
      {
        fields: REPACK,
        values: {
          columns,
          rowBytes: rowBytes(matrix),
          stripBytes: layout.bytes,
          factors: layout.factors,
          from: to,
          to: place,
        },
      },
    );
  }
}

/**
 * Returns the addresses that the first pieces are read to, all at once: the places of weights that
 * are read later, before `end`. Reading ahead therefore needs no memory beyond the model's.
 */
function aheadOf(pieces: readonly Piece[], end: number): number[] {
  const places: number[] = [];
  for (let at = end; places.length < Math.min(pieces.length, MOST_AHEAD);) {
    const piece = pieces[places.length]!;
    const next = pieces[places.length + 1];
    at = Math.floor((at - stagedBytes(piece)) / CACHE_LINE) * CACHE_LINE;
    // The packed form of this piece and those before it ends where that of the next one begins.
    if (next === undefined || at < packedTo(next)) break;
    places.push(at);
  }
  return places;
}

function packedTo({ matrix: { address, layout }, row }: Piece): number {
  return address + row / STRIP_ROWS * layout.bytes;
}

function piecesOf({ tensor, matrices }: Extract<Pending, { matrices: unknown }>): Piece[] {
  const size = tensor.byteLength / matrices.length;
  return matrices.flatMap((matrix, i) => {
    const step = pieceRows(matrix);
    return Array.from({ length: Math.ceil(matrix.rows / step) }, (_, k) => ({
      tensor,
      offset: i * size + k * step * rowBytes(matrix),
      matrix,
      row: k * step,
      rows: Math.min(step, matrix.rows - k * step),
    }));
  });
}

function rowBytes({ type, columns }: Matrix): number {
  return packedBytes(type, columns);
}

function pieceRows(matrix: Matrix): number {
  const strips = Math.floor(PIECE_BYTES / rowBytes(matrix) / STRIP_ROWS);
  return Math.max(1, strips) * STRIP_ROWS;
}

/** Bytes of the matrix's largest piece, including the rows that pad a strip. */
function pieceBytes(matrix: Matrix): number {
  return Math.min(pieceRows(matrix), paddedRows(matrix.rows)) * rowBytes(matrix);
}

function stagedBytes({ matrix, rows }: Piece): number {
  return paddedRows(rows) * rowBytes(matrix);
}

/** Elements of a vector in memory, which is padded with zeros to whole spans. */
export function vectorLength(count: number): number {
  return Math.ceil(count / SPAN_COLUMNS) * SPAN_COLUMNS;
}

/** Reads a tensor's values as float32. */
export function readVector(file: ModelFile, tensor: TensorInfo): Float32Array {
  const bytes = new Uint8Array(tensor.byteLength);
  file.read(tensor, 0, bytes);
  assertFinite(file, tensor, { bytes });
  const vector = new Float32Array(tensor.shape.reduce((a, b) => a * b));
  dequantize(tensor.type, bytes, vector);
  return vector;
}

/** Transposes a matrix whose rows have `rowLength` elements. */
function transposed(values: Float32Array, rowLength: number): Float32Array {
  const rows = values.length / rowLength;
  return values.map((_, i) => values[i % rows * rowLength + Math.floor(i / rows)]!);
}
