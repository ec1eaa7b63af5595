/**
 * Unpacks rows of a matrix in strips to float32, the same values as kernels/dequantize.ts computes.
 */

import { F16_VALUES } from "../f16.ts";
import {
  columnBytes,
  type IntegerFormat,
  isFloat,
  minimumAt,
  PANEL_ROWS,
  PANELS,
  quantBytes,
  scaleAt,
  scalesBytes,
  SPAN_COLUMNS,
  STRIP_ROWS,
  stripLayout,
  SUPER_SPANS,
  superBytes,
  type WasmFormat,
} from "./formats.ts";
import { HALF_FACTOR } from "./math.ts";

/** A matrix in the kernels' memory. */
export interface StripMatrix {
  readonly format: WasmFormat;
  readonly columns: number;
  readonly address: number;
}

/** Unpacks a row to `out`, which must have room for at least `columns` values. */
export function unpackStripRow(
  memory: DataView,
  { format, columns, address }: StripMatrix,
  { row, out }: { readonly row: number; readonly out: Float32Array },
): void {
  const layout = stripLayout(format, columns);
  const within = row % STRIP_ROWS;
  const strip = address + (row - within) / STRIP_ROWS * layout.bytes;
  const factor = memory.getFloat32(strip + layout.factors + 4 * within, true) / HALF_FACTOR;
  if (isFloat(format)) {
    const bytes = columnBytes(format);
    for (let c = 0; c < columns; c++) {
      const at = strip + bytes * c + bytes / STRIP_ROWS * within;
      if (format.quants === "f32") out[c] = memory.getFloat32(at, true);
      else if (format.quants === "bf16") out[c] = bf16(memory.getUint16(at, true));
      else out[c] = F16_VALUES[memory.getUint16(at, true)]! * factor;
    }
    return;
  }
  const panel = Math.floor(within / PANEL_ROWS), r = within % PANEL_ROWS;
  const half = (at: number) => F16_VALUES[memory.getUint16(at, true)]! * factor;
  const { group, minima, zero, scales } = format;
  const spans = columns / SPAN_COLUMNS;
  const panelBytes = spans * quantBytes(format);
  const superblock = SUPER_SPANS * scalesBytes(format) + superBytes(format);
  for (let span = 0; span < spans; span++) {
    const before = scales !== "byte" ? 0 : Math.floor(span / SUPER_SPANS) * superBytes(format);
    const scalesOf = strip + PANELS * panelBytes;
    const at = scalesOf + span * scalesBytes(format) + before;
    const common = scalesOf + (Math.floor(span / SUPER_SPANS) + 1) * superblock -
      superBytes(format) + 2 * within;
    for (let g = 0; g < SPAN_COLUMNS / group; g++) {
      const scaleOf = at + scaleAt(format, panel), minimumOf = at + minimumAt(format, panel);
      let scale: number, minimum = 0;
      if (scales === "exponent") scale = 2 ** (memory.getUint8(scaleOf + r) - 128);
      else if (scales === "half") {
        scale = half(scaleOf + 2 * r);
        if (minima) minimum = half(minimumOf + 2 * r);
      } else {
        scale = half(common) * memory.getInt8(scaleOf + 4 * g + r);
        if (minima) {
          minimum = -half(common + 2 * STRIP_ROWS) * memory.getInt8(minimumOf + 4 * g + r);
        }
      }
      const quants = strip + panel * panelBytes + span * quantBytes(format) + 4 * r;
      for (let c = g * group; c < (g + 1) * group; c++) {
        const quant = quantAt(memory, format, { at: quants, column: c });
        out[SPAN_COLUMNS * span + c] = scale * (quant - zero) + minimum;
      }
    }
  }
}

/**
 * Returns quant `column` of a span. `at` is the address of the row's lane in the span's first
 * vector.
 */
function quantAt(
  memory: DataView,
  { quants, values }: IntegerFormat,
  { at, column }: { readonly at: number; readonly column: number },
): number {
  const within = column % 4;
  if (quants === "nibble") {
    const byte = memory.getUint8(at + 16 * (column >> 3) + within);
    const nibble = column % 8 < 4 ? byte & 15 : byte >> 4;
    return values?.[nibble] ?? nibble;
  }
  const place = at + 16 * (column >> 2) + within;
  return quants === "signed" ? memory.getInt8(place) : memory.getUint8(place);
}

const word = new DataView(new ArrayBuffer(4));

function bf16(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
