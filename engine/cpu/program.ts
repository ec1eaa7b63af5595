/** Lists of operations for the threads. */

import { encodingKey } from "../../kernels/wasm/activations.ts";
import { formatKey, paddedColumns, STRIP_ROWS } from "../../kernels/wasm/formats.ts";
import { MATMUL } from "../../kernels/wasm/matmul.ts";
import { type KernelIndex, matrixEncoding } from "../../kernels/wasm/module.ts";
import {
  type Fields,
  JOIN,
  OPERATION,
  OPERATION_BYTES,
  REDUNDANT,
} from "../../kernels/wasm/operation.ts";
import { ENCODINGS, OUTPUT_ADDRESSES, OUTPUT_INTEGERS } from "../../kernels/wasm/prepare.ts";
import type { ProductForm } from "../../kernels/wasm/products.ts";
import type { Arguments, SharedMemory } from "./memory.ts";
import { type PreparedRows, REDUNDANT_TOKENS, type Scratch } from "./scratch.ts";
import type { ThreadPool } from "./thread_pool.ts";
import type { Matrix } from "./matrix.ts";

/** What all lists of a model are made with. */
export interface ProgramContext {
  readonly memory: SharedMemory;
  readonly scratch: Scratch;
  readonly index: KernelIndex;
  readonly form: ProductForm;
  readonly pool: ThreadPool;
}

/** Activations as one preparation left them, for the matrices that it was told. */
export interface Prepared {
  readonly rows: PreparedRows;
  /** encodingKey of each encoding. */
  readonly encodings: readonly string[];
}

/** A product's result, of so many tokens. */
export interface Output {
  readonly y: number;
  readonly stride: number;
  readonly accumulate?: boolean;
  /** Address of [rows], or 0. */
  readonly bias?: number;
}

/** A product: how many rows of x, and which of them become which of y, if not each its own. */
export interface Product extends Output {
  readonly tokens: number;
  readonly numbers?: RowNumbers;
}

/** Which rows of x become which of y: addresses of their numbers. */
export interface RowNumbers {
  readonly xRows: number;
  readonly yRows: number;
}

type OutputName = (typeof OUTPUT_INTEGERS)[number] | (typeof OUTPUT_ADDRESSES)[number];

/** Multiplications that are worth the price of taking a unit. */
const LEAST_WORK = 2 ** 15;
/** Chunks that each thread takes of an operation, so that all end at about the same time. */
const CHUNKS = 6;

/** An operation of a list, as its caller knows it. */
export interface Listed {
  readonly kernel: number;
  /** All threads are done with it before the next one starts. */
  joins: boolean;
}

/** Operations in memory, from `start` on. */
export interface OperationList {
  readonly start: number;
  readonly operations: readonly Listed[];
}

/** Writes one list, from an address on. */
export class ProgramWriter implements OperationList {
  readonly operations: Listed[] = [];

  /** @param apart whether all threads wait for each other after every operation, to time each */
  constructor(
    readonly context: ProgramContext,
    readonly start: number,
    readonly apart: boolean,
  ) {}

  /** Adds an operation of `units` units, shared out in chunks unless told otherwise. */
  add<F extends Fields>(
    kernel: number,
    { units, chunk, redundant = false }: {
      readonly units: number;
      readonly chunk?: number;
      readonly redundant?: boolean;
    },
    call: Arguments<F>,
  ): void {
    const share = Math.ceil(units / (2 * this.context.pool.threads));
    this.context.memory.writeOperation(
      this.start + this.operations.length * OPERATION_BYTES,
      {
        kernel,
        units,
        chunk: Math.max(1, chunk ?? share),
        flags: redundant ? REDUNDANT : 0,
      },
      call,
    );
    this.operations.push({ kernel, joins: false });
    if (this.apart) this.join();
  }

  /** All threads have to be done with the last operation before the next one starts. */
  join(): void {
    const { words } = this.context.memory;
    const last = this.operations.length - 1;
    words[(this.start + last * OPERATION_BYTES + OPERATION.flags) / 4]! |= JOIN;
    this.operations[last]!.joins = true;
  }

  /**
   * Adds a preparation of activations for some matrices; what all preparations write is filled in.
   *
   * @param few whether every thread makes all rows for itself
   */
  prepare<F extends Fields>(
    kernel: number,
    { units, few, matrices }: {
      readonly units: number;
      readonly few: boolean;
      readonly matrices: readonly Matrix[];
    },
    { fields, values }: {
      readonly fields: F;
      readonly values: Readonly<Record<Exclude<keyof F, Exclude<OutputName, "columns">>, number>>;
    },
  ): Prepared {
    const { scratch, index } = this.context;
    const prepared = this.prepared(matrices, few ? scratch.own : scratch.shared);
    const { rows, encodings } = prepared;
    const encode = (i: number) => i < encodings.length ? index.encoders.get(encodings[i]!)! : -1;
    const output: Readonly<Record<Exclude<OutputName, "columns">, number>> = {
      encode0: encode(0),
      encode1: encode(1),
      encode2: encode(2),
      rowStride: scratch.rowStride,
      encodedStride: scratch.encodedStride,
      row: rows.row,
      out0: rows.encoded[0]!,
      out1: rows.encoded[1]!,
      out2: rows.encoded[2]!,
      thread: rows.thread,
    };
    if (encodings.length > ENCODINGS) {
      throw new RangeError(`Cannot prepare activations in ${encodings.length} encodings at once`);
    }
    const all = { ...values, ...output } as unknown as Readonly<Record<keyof F, number>>;
    this.add(kernel, { units, redundant: few }, { fields, values: all });
    if (!few) this.join();
    return prepared;
  }

  /** What a preparation leaves in `rows` for some matrices. */
  prepared(matrices: readonly Matrix[], rows: PreparedRows): Prepared {
    const keys = matrices.flatMap(({ format }) => {
      const encoding = matrixEncoding(format, this.context.form);
      return encoding ? [encodingKey(encoding)] : [];
    });
    return { rows, encodings: [...new Set(keys)] };
  }

  /** Adds a product of prepared activations. */
  multiply(
    matrix: Matrix,
    prepared: Prepared,
    { tokens, numbers, ...output }: Product,
  ): void {
    const { scratch, index, form, pool: { threads } } = this.context;
    const { format, layout, rows, columns, address } = matrix;
    const encoding = matrixEncoding(format, form);
    const encoded = encoding && prepared.encodings.indexOf(encodingKey(encoding));
    const units = Math.ceil(rows / STRIP_ROWS);
    const least = Math.ceil(LEAST_WORK / (STRIP_ROWS * columns * tokens));
    this.add(
      index.matmul.get(formatKey(format))!,
      { units, chunk: Math.max(least, Math.ceil(units / (CHUNKS * threads))) },
      {
        fields: MATMUL,
        values: {
          columns: paddedColumns(format, columns),
          tokens,
          stripBytes: layout.bytes,
          factors: layout.factors,
          xStride: encoded === undefined ? scratch.rowStride : scratch.encodedStride,
          yStride: output.stride,
          accumulate: output.accumulate ? 1 : 0,
          weights: address,
          x: encoded === undefined ? prepared.rows.row : prepared.rows.encoded[encoded]!,
          y: output.y,
          xRows: numbers?.xRows ?? scratch.identity,
          yRows: numbers?.yRows ?? scratch.identity,
          bias: output.bias ?? 0,
          xThread: prepared.rows.thread,
          offsets: scratch.offsets,
          offsetsThread: scratch.offsetsThread,
        },
      },
    );
  }
}

/** Whether so few tokens enter that each thread prepares them for itself. */
export function areFew(tokens: number): boolean {
  return tokens <= REDUNDANT_TOKENS;
}
