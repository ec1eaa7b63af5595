/** Writes lists of operations for the threads. */

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

/** What is needed to write any list of a model. */
export interface ProgramContext {
  readonly memory: SharedMemory;
  readonly scratch: Scratch;
  readonly index: KernelIndex;
  readonly form: ProductForm;
  readonly pool: ThreadPool;
}

/** The activations that one preparation writes for its matrices. */
export interface Prepared {
  readonly rows: PreparedRows;
  /** encodingKey of each encoding. */
  readonly encodings: readonly string[];
}

/** The destination of a product: address and stride of its rows, in bytes. */
export interface Output {
  readonly y: number;
  readonly stride: number;
  readonly accumulate?: boolean;
  /** Address of the bias [rows], or 0. */
  readonly bias?: number;
}

/**
 * A product of `tokens` rows of x. `numbers` maps rows of x to rows of y; without it, row i of x
 * becomes row i of y.
 */
export interface Product extends Output {
  readonly tokens: number;
  readonly numbers?: RowNumbers;
}

/** Maps rows of x to rows of y: addresses of two lists of row indices. */
export interface RowNumbers {
  readonly xRows: number;
  readonly yRows: number;
}

type OutputName = (typeof OUTPUT_INTEGERS)[number] | (typeof OUTPUT_ADDRESSES)[number];

/** Minimum number of multiplications per chunk, to be worth the cost of taking a chunk. */
const LEAST_WORK = 2 ** 15;
/** Chunks per thread in a product, so that all threads end at about the same time. */
const CHUNKS = 6;

/** An operation of a list, as the caller sees it. */
export interface Listed {
  readonly kernel: number;
  /** Whether all threads finish it before the next one starts. */
  joins: boolean;
}

/** Consecutive operations in memory, starting at address `start`. */
export interface OperationList {
  readonly start: number;
  readonly operations: readonly Listed[];
}

/** Writes one list, starting at an address. */
export class ProgramWriter implements OperationList {
  readonly operations: Listed[] = [];

  /**
   * @param apart whether all threads wait for each other after every operation, so that each can be
   *   timed
   */
  constructor(
    readonly context: ProgramContext,
    readonly start: number,
    readonly apart: boolean,
  ) {}

  /**
   * Adds an operation of `units` units. By default, a chunk is half of a thread's share of the
   * units.
   */
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

  /** Makes all threads finish the last operation before the next one starts. */
  join(): void {
    const { words } = this.context.memory;
    const last = this.operations.length - 1;
    words[(this.start + last * OPERATION_BYTES + OPERATION.flags) / 4]! |= JOIN;
    this.operations[last]!.joins = true;
  }

  /**
   * Adds an operation that prepares activations for `matrices`. The fields that all preparations
   * have in common are filled in here.
   *
   * @param few whether every thread prepares all rows itself
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
      throw new RangeError(
        `Cannot prepare activations in ${encodings.length} encodings at once: at most ${ENCODINGS}`,
      );
    }
    const all = { ...values, ...output } as unknown as Readonly<Record<keyof F, number>>;
    this.add(kernel, { units, redundant: few }, { fields, values: all });
    if (!few) this.join();
    return prepared;
  }

  /** Describes the activations that a preparation for `matrices` writes to `rows`. */
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

/** Whether there are so few tokens that each thread prepares them itself. */
export function areFew(tokens: number): boolean {
  return tokens <= REDUNDANT_TOKENS;
}
