/** Reads weights and packs them: while the threads pack one piece of a matrix, the caller reads the next. */

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

/** What is to be read, into matrices one after the other or one vector. */
export type Pending =
  | { readonly tensor: TensorInfo; readonly matrices: readonly Matrix[] }
  | {
    readonly tensor: TensorInfo;
    readonly vector: number;
    readonly scale: number;
    /** What is read has rows of so many elements, and columns become rows; 1: as it is. */
    readonly rowLength: number;
  };

/** Bytes of a tensor that are read and packed at a time. */
const PIECE_BYTES = 4 * 2 ** 20;
/** Pieces that are read ahead, at most. */
const MOST_AHEAD = 128;

/** Rows of a matrix that are read at a time. */
interface Piece {
  readonly tensor: TensorInfo;
  /** In the tensor. */
  readonly offset: number;
  readonly matrix: Matrix;
  readonly row: number;
  readonly rows: number;
}

/** A piece that is read, to an address, and the address of the operation that packs it. */
interface Reading {
  readonly piece: Piece;
  readonly to: number;
  readonly operation: number;
  /** Of a list: there, threads wait for each other. */
  readonly last: boolean;
}

/** Where pieces are read to, and the operations that pack them. */
interface Staging {
  readonly slots: readonly [number, number];
  readonly operations: number;
}

export interface LoadOptions {
  /** Called with the bytes read so far. */
  readonly progress?: ((bytes: number) => void) | undefined;
  /** Called between pieces; what it throws ends the load. */
  readonly pause?: Pause | undefined;
  /** Called once, while the workers pack what was read first. */
  readonly meanwhile?: (() => void) | undefined;
}

export class WeightLoader {
  readonly #staging: Staging;

  /** Takes its own place in the layout, after that of all weights. */
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
   * Reads and packs everything. Returns when all workers listen.
   *
   * @throws {ModelFormatError} if a weight is not finite, or the file got shorter.
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
        // The other one is in use.
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
      place.fill(0, values.length); // Pieces may have been read to here.
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
 * Where the first pieces can be read to at once: to the place of weights that are read later, before
 * `end`. So no memory is needed but that of the model.
 */
function aheadOf(pieces: readonly Piece[], end: number): number[] {
  const places: number[] = [];
  for (let at = end; places.length < Math.min(pieces.length, MOST_AHEAD);) {
    const piece = pieces[places.length]!;
    const next = pieces[places.length + 1];
    at = Math.floor((at - stagedBytes(piece)) / CACHE_LINE) * CACHE_LINE;
    // What this piece and those before it become ends where the next one's place begins.
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

/** Of the matrix's largest piece, rows that fill up a strip included. */
function pieceBytes(matrix: Matrix): number {
  return Math.min(pieceRows(matrix), paddedRows(matrix.rows)) * rowBytes(matrix);
}

function stagedBytes({ matrix, rows }: Piece): number {
  return paddedRows(rows) * rowBytes(matrix);
}

/** Elements that a vector has in memory: zeros fill it up to whole spans. */
export function vectorLength(count: number): number {
  return Math.ceil(count / SPAN_COLUMNS) * SPAN_COLUMNS;
}

/** A tensor's values as float32. */
export function readVector(file: ModelFile, tensor: TensorInfo): Float32Array {
  const bytes = new Uint8Array(tensor.byteLength);
  file.read(tensor, 0, bytes);
  assertFinite(file, tensor, { bytes });
  const vector = new Float32Array(tensor.shape.reduce((a, b) => a * b));
  dequantize(tensor.type, bytes, vector);
  return vector;
}

/** A matrix of rows of so many elements by columns. */
function transposed(values: Float32Array, rowLength: number): Float32Array {
  const rows = values.length / rowLength;
  return values.map((_, i) => values[i % rows * rowLength + Math.floor(i / rows)]!);
}
