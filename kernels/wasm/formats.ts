/**
 * Layouts of matrices in the memory of the WASM kernels. Values are in the order in which a kernel
 * reads them, so that the processor prefetches them. Eight rows form a strip, and half a strip is a
 * panel: the four lanes of a vector are four rows, and no sum runs across lanes. A strip of
 * integers contains, in this order:
 *
 * - the quants of the first panel, then those of the second. For each span of 32 columns they are
 *   vectors of 16 bytes, in which lane r has 4 columns of row r. Nibbles: vector j has columns
 *   8j … 8j + 3 in its low halves and 8j + 4 … 8j + 7 in its high ones. Bytes: vector j has columns
 *   4j … 4j + 3.
 * - for each span the scales of both panels, then their minima, if there are any. "half": four
 *   float16 per panel. "exponent": four bytes per panel, where e means 2^(e − 128). "byte": four
 *   bytes per panel for each group. "byte" scales of 256 columns are followed by the float16
 *   factors of the scales, then by those of the minima.
 *
 * A kernel therefore reads three streams at once, which one core prefetches faster than a single
 * stream.
 *
 * A strip of floats contains the values of its eight rows column by column. Every strip ends with
 * eight float32 factors, by which the results are multiplied. They undo a scaling: the float16
 * values of a strip are multiplied by the largest power of two that keeps them finite, so that few
 * or none are subnormal, because processors are slow at subnormal numbers.
 */

import { QUANT_VALUES, type TensorType } from "../tensor_types.ts";

/** Columns of activations that share a scale. */
export const SPAN_COLUMNS = 32;

/** Rows of a panel and of a strip. */
export const PANEL_ROWS = 4;
export const STRIP_ROWS = 8;
export const PANELS = STRIP_ROWS / PANEL_ROWS;

/** Spans that share the float16 factors of "byte" scales. */
export const SUPER_SPANS = 8;

/** A matrix of quants: w = scale · (value − zero) + minimum. */
export interface IntegerFormat {
  /** "nibble": 4 bits. "byte": unsigned, up to 6 bits. "signed": 8 bits. */
  readonly quants: "nibble" | "byte" | "signed";
  /** Values (bytes) that the nibbles index. Absent: the nibble is the value. */
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
/** Added to MXFP4's values to make them unsigned. */
const MXFP4_ZERO = 12;
// MLX's quants are unsigned. 128 is subtracted from them here; the kernels add it back in the
// minimum.
const MLX8 = { ...HALVES, quants: "signed", minima: true, zero: -128 } as const;

/** The format in which each tensor type is stored. */
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

/** Returns a key that identifies the kernels of a format. */
export function formatKey(format: WasmFormat): string {
  if (isFloat(format)) return format.quants;
  const { quants, group, scales, minima, zero, values = [] } = format;
  return `${quants}${group}${scales}${minima ? "min" : ""}${zero}/${values}`;
}

/**
 * Whether a product's weights are signed. One operand of the relaxed dot product must be unsigned.
 */
export function isSigned({ quants, values = [] }: IntegerFormat): boolean {
  return quants === "signed" || values.some((value) => value < 0);
}

/** Returns the largest magnitude of a product's weights. */
export function largestWeight({ quants, values }: IntegerFormat): number {
  if (values !== undefined) return Math.max(...values.map(Math.abs));
  return { nibble: 15, byte: 63, signed: 127 }[quants];
}

/** Bytes of one panel's quants per span. */
export function quantBytes({ quants }: IntegerFormat): number {
  return quants === "nibble" ? 64 : 128;
}

/** Bytes of one panel's scales per span. Its minima have the same size. */
function scaleBytes({ scales, group }: IntegerFormat): number {
  return scales === "half" ? 8 : 4 * SPAN_COLUMNS / group;
}

/** Byte offset of a panel's scales within a span's scales and minima. */
export function scaleAt(format: IntegerFormat, panel: number): number {
  return panel * scaleBytes(format);
}
export function minimumAt(format: IntegerFormat, panel: number): number {
  return scaleAt(format, PANELS + panel);
}

/** Bytes of both panels' scales and minima per span. */
export function scalesBytes(format: IntegerFormat): number {
  return scaleAt(format, format.minima ? 2 * PANELS : PANELS);
}

/**
 * Bytes of the float16 factors of "byte" scales: those of both panels' scales, then of their
 * minima.
 */
export function superBytes({ scales, minima }: IntegerFormat): number {
  if (scales !== "byte") return 0;
  return 8 * PANELS * (minima ? 2 : 1);
}

/**
 * Bytes of one panel's quants per column. Multiplied by the columns and the panels, it gives the
 * offset of a strip's scales.
 */
export function quantColumnBytes(format: IntegerFormat): number {
  return quantBytes(format) / SPAN_COLUMNS;
}

const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;

/** Number of columns that the kernels process: whole spans, or for floats a multiple of four. */
export function paddedColumns(format: WasmFormat, columns: number): number {
  const step = isFloat(format) ? 4 : SPAN_COLUMNS;
  return Math.ceil(columns / step) * step;
}

/** Byte offset of a strip's factors, and the bytes of the strip. */
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
  // Rounded up to whole cache lines, so that every strip starts on one.
  return { factors, bytes: Math.ceil((factors + 4 * STRIP_ROWS) / 64) * 64 };
}

/** Bytes of one column of a strip of floats. */
export function columnBytes({ quants }: FloatFormat): number {
  return STRIP_ROWS * FLOAT_BYTES[quants];
}

/** Rows of a matrix, including the padding of its last strip. */
export function paddedRows(rows: number): number {
  return Math.ceil(rows / STRIP_ROWS) * STRIP_ROWS;
}

/** Bytes of a matrix in the kernels' memory. */
export function matrixBytes(type: TensorType, rows: number, columns: number): number {
  return paddedRows(rows) / STRIP_ROWS * stripLayout(WASM_FORMATS[type], columns).bytes;
}
