/**
 * How matrices lie in the memory of the WASM kernels: in the order in which a kernel reads them, so
 * that the processor fetches ahead. Eight rows are a strip, and half of it a panel, so that the four
 * lanes of a vector are four rows and no sum runs across lanes. A strip of integers has, one after
 * the other:
 *
 * - the quants of one panel and then of the other, for each span of 32 columns as vectors of 16
 *   bytes, in which lane r has 4 columns of row r. Nibbles: columns 8j … 8j + 3 in the low halves of
 *   vector j, 8j + 4 … in the high ones. Bytes: columns 4j … in vector j.
 * - for each span the scales of both panels, then their minima, if there are any. "half": four
 *   float16 a panel. "exponent": four bytes a panel, e standing for 2^(e − 128). "byte": for each group four bytes a panel. "byte" scales of 256 columns are
 *   followed by float16 that multiply them, and those of their minima.
 *
 * So a kernel reads three streams at once: one core fetches several faster than one.
 *
 * Of floats a strip has eight rows of each column. At the end it has eight float32, by which results
 * are multiplied: the halves of a strip are scaled up by a power of two until none is subnormal,
 * because processors are slow at such numbers.
 */

import { QUANT_VALUES, type TensorType } from "../tensor_types.ts";

/** Columns that share their activations' scale. */
export const SPAN_COLUMNS = 32;

/** Rows of a panel, and of a strip. */
export const PANEL_ROWS = 4;
export const STRIP_ROWS = 8;
export const PANELS = STRIP_ROWS / PANEL_ROWS;

/** Spans that share the float16 of "byte" scales. */
export const SUPER_SPANS = 8;

/** A matrix of quants: w = scale · (value − zero) + minimum. */
export interface IntegerFormat {
  /** Of 4 bits, unsigned ones of up to 6, or signed ones of 8. */
  readonly quants: "nibble" | "byte" | "signed";
  /** Of nibbles, the values that they stand for, which are bytes; absent: the nibbles themselves. */
  readonly values?: readonly number[];
  /** Columns that share a scale. */
  readonly group: 16 | 32;
  readonly scales: "half" | "exponent" | "byte";
  readonly minima: boolean;
  readonly zero: number;
}

/** A matrix of floats. */
export interface FloatFormat {
  readonly quants: "f32" | "f16" | "bf16";
}

export type WasmFormat = IntegerFormat | FloatFormat;

const HALVES = { group: 32, scales: "half" } as const;
const MLX4 = { ...HALVES, quants: "nibble", minima: true, zero: 0 } as const;
const IQ4 = { quants: "nibble", values: QUANT_VALUES.IQ4, minima: false, zero: 0 } as const;
/** Added to MXFP4's values, so that they have no sign. */
const MXFP4_ZERO = 12;
// MLX's quants are unsigned: 128 less here, for which the kernels make up in the minimum.
const MLX8 = { ...HALVES, quants: "signed", minima: true, zero: -128 } as const;

/** The form in which each tensor type is kept. */
export const WASM_FORMATS: Readonly<Record<TensorType, WasmFormat>> = {
  F32: { quants: "f32" },
  F16: { quants: "f16" },
  BF16: { quants: "bf16" },
  Q4_0: { ...HALVES, quants: "nibble", minima: false, zero: 8 },
  Q4_1: { ...HALVES, quants: "nibble", minima: true, zero: 0 },
  Q5_0: { ...HALVES, quants: "byte", minima: false, zero: 16 },
  Q5_1: { ...HALVES, quants: "byte", minima: true, zero: 0 },
  Q8_0: { ...HALVES, quants: "signed", minima: false, zero: 0 },
  Q2_K: { quants: "nibble", group: 16, scales: "byte", minima: true, zero: 0 },
  Q3_K: { quants: "nibble", group: 16, scales: "byte", minima: false, zero: 4 },
  Q4_K: { quants: "nibble", group: 32, scales: "byte", minima: true, zero: 0 },
  Q5_K: { quants: "byte", group: 32, scales: "byte", minima: true, zero: 0 },
  Q6_K: { quants: "byte", group: 16, scales: "byte", minima: false, zero: 32 },
  IQ4_NL: { ...HALVES, ...IQ4 },
  IQ4_XS: { ...IQ4, group: 32, scales: "byte" },
  MXFP4: {
    quants: "nibble",
    values: QUANT_VALUES.MXFP4.map((value) => value + MXFP4_ZERO),
    group: 32,
    scales: "exponent",
    minima: false,
    zero: MXFP4_ZERO,
  },
  MLX4_64: MLX4,
  MLX4_128: MLX4,
  MLX8_32: MLX8,
  MLX8_64: MLX8,
  MLX8_128: MLX8,
};

export function isFloat(format: WasmFormat): format is FloatFormat {
  return !("group" in format);
}

/** What tells the kernels of one format from those of another. */
export function formatKey(format: WasmFormat): string {
  if (isFloat(format)) return format.quants;
  const { quants, group, scales, minima, zero, values = [] } = format;
  return `${quants}${group}${scales}${minima ? "min" : ""}${zero}/${values}`;
}

/** Whether a product's weights have a sign, which one operand of the relaxed dot product must not. */
export function isSigned({ quants, values = [] }: IntegerFormat): boolean {
  return quants === "signed" || values.some((value) => value < 0);
}

/** The largest magnitude of a product's weights. */
export function largestWeight({ quants, values }: IntegerFormat): number {
  if (values !== undefined) return Math.max(...values.map(Math.abs));
  return { nibble: 15, byte: 63, signed: 127 }[quants];
}

/** Bytes of a span's quants of one panel. */
export function quantBytes({ quants }: IntegerFormat): number {
  return quants === "nibble" ? 64 : 128;
}

/** Bytes of a span's scales of one panel, and as many of its minima. */
function scaleBytes({ scales, group }: IntegerFormat): number {
  return scales === "half" ? 8 : 4 * SPAN_COLUMNS / group;
}

/** Where in what a span has of scales and minima those of a panel are. */
export function scaleAt(format: IntegerFormat, panel: number): number {
  return panel * scaleBytes(format);
}
export function minimumAt(format: IntegerFormat, panel: number): number {
  return scaleAt(format, PANELS + panel);
}

/** Bytes of a span's scales and minima. */
export function scalesBytes(format: IntegerFormat): number {
  return scaleAt(format, format.minima ? 2 * PANELS : PANELS);
}

/** Bytes of the float16 of "byte" scales: of both panels, and of their minima. */
export function superBytes({ scales, minima }: IntegerFormat): number {
  if (scales !== "byte") return 0;
  return 8 * PANELS * (minima ? 2 : 1);
}

/** Bytes of a panel's quants for each column, so that their number gives where its scales are. */
export function quantColumnBytes(format: IntegerFormat): number {
  return quantBytes(format) / SPAN_COLUMNS;
}

const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;

/** Columns as the kernels walk them: whole spans, or of floats a multiple of four. */
export function paddedColumns(format: WasmFormat, columns: number): number {
  const step = isFloat(format) ? 4 : SPAN_COLUMNS;
  return Math.ceil(columns / step) * step;
}

/** Offset of a strip's factors, and its bytes. */
export interface StripLayout {
  readonly factors: number;
  readonly bytes: number;
}

export function stripLayout(format: WasmFormat, columns: number): StripLayout {
  let factors: number;
  if (isFloat(format)) {
    factors = paddedColumns(format, columns) * columnBytes(format);
  } else {
    const spans = columns / SPAN_COLUMNS;
    factors = spans * (PANELS * quantBytes(format) + scalesBytes(format)) +
      spans / SUPER_SPANS * superBytes(format);
  }
  // A whole number of cache lines, in which every strip's vectors then lie.
  return { factors, bytes: Math.ceil((factors + 4 * STRIP_ROWS) / 64) * 64 };
}

/** Bytes of a column of floats in a strip. */
export function columnBytes({ quants }: FloatFormat): number {
  return STRIP_ROWS * FLOAT_BYTES[quants];
}

/** Rows of a matrix, those that fill it up included. */
export function paddedRows(rows: number): number {
  return Math.ceil(rows / STRIP_ROWS) * STRIP_ROWS;
}

/** Bytes of a matrix in the kernels' memory. */
export function matrixBytes(type: TensorType, rows: number, columns: number): number {
  return paddedRows(rows) / STRIP_ROWS * stripLayout(WASM_FORMATS[type], columns).bytes;
}
