/** The layout of each weight format on the device, and the WGSL that reads it. */

import asFloats from "./quant/as_floats.wgsl" with { type: "text" };
import bf16 from "./quant/bf16.wgsl" with { type: "text" };
import bytePairs from "./quant/byte_pairs.wgsl" with { type: "text" };
import bytes from "./quant/bytes.wgsl" with { type: "text" };
import d from "./quant/d.wgsl" with { type: "text" };
import f16 from "./quant/f16.wgsl" with { type: "text" };
import f32 from "./quant/f32.wgsl" with { type: "text" };
import halves from "./quant/halves.wgsl" with { type: "text" };
import iq4 from "./quant/iq4.wgsl" with { type: "text" };
import iq4_xs from "./quant/iq4_xs.wgsl" with { type: "text" };
import mxfp4 from "./quant/mxfp4.wgsl" with { type: "text" };
import nibbles from "./quant/nibbles.wgsl" with { type: "text" };
import noScale from "./quant/no_scale.wgsl" with { type: "text" };
import noTable from "./quant/no_table.wgsl" with { type: "text" };
import q2_k from "./quant/q2_k.wgsl" with { type: "text" };
import q3_k from "./quant/q3_k.wgsl" with { type: "text" };
import q4 from "./quant/q4.wgsl" with { type: "text" };
import q4_0 from "./quant/q4_0.wgsl" with { type: "text" };
import q5 from "./quant/q5.wgsl" with { type: "text" };
import q5_0 from "./quant/q5_0.wgsl" with { type: "text" };
import q6_k from "./quant/q6_k.wgsl" with { type: "text" };
import q8_0 from "./quant/q8_0.wgsl" with { type: "text" };
import scale_d from "./quant/scale_d.wgsl" with { type: "text" };
import scale_dm from "./quant/scale_dm.wgsl" with { type: "text" };
import scale_k4 from "./quant/scale_k4.wgsl" with { type: "text" };
import scale_power from "./quant/scale_power.wgsl" with { type: "text" };
import sixBits from "./quant/six_bits.wgsl" with { type: "text" };
import valueTable from "./quant/value_table.wgsl" with { type: "text" };
import { QUANT_VALUES, type TensorType } from "./tensor_types.ts";

/**
 * A format's layout in units of four rows × 32 weights (layout.wgsl), and the WGSL that reads it.
 */
export interface DeviceFormat {
  /** 32-bit words per unit, all four rows together, in the quants buffer. */
  readonly quantWords: number;
  /** 32-bit words per super-unit in the scales buffer; 0 if the format has no scales. */
  readonly scaleWords: number;
  /** Spans of 32 columns that share a super-unit of scales. */
  readonly superSpans: number;
  /** Whether weights have an offset, which kernels may multiply by sums of activations. */
  readonly offset: boolean;
  /** Whether the 32 weights of a span share one scale; otherwise every 16 weights do. */
  readonly oneScale: boolean;
  /** Whether weights are looked up in a table in workgroup memory. */
  readonly table?: true;
  readonly wgsl: readonly string[];
}

function format(
  wgsl: string[],
  [quantWords, scaleWords]: readonly [quants: number, scales: number],
  { superSpans = 1, offset = true, oneScale = true } = {},
): DeviceFormat {
  return { quantWords, scaleWords, superSpans, offset, oneScale, wgsl };
}

/** For formats with superblocks of 256 weights. */
const SUPERBLOCK = { superSpans: 8 };

/** The device layout of every tensor type. */
export const DEVICE_FORMATS: Readonly<Record<TensorType, DeviceFormat>> = {
  F32: format([f32, noScale], [128, 0], { offset: false }),
  F16: format([f16, halves, noScale], [64, 0], { offset: false }),
  BF16: format([bf16, halves, noScale], [64, 0], { offset: false }),
  Q4_0: format([nibbles, q4, asFloats, scale_d, q4_0], [16, 2]),
  Q4_1: format([nibbles, q4, asFloats, scale_dm], [16, 4]),
  Q5_0: format([q5, asFloats, scale_d, q5_0], [20, 2]),
  Q5_1: format([q5, asFloats, scale_dm], [20, 4]),
  Q8_0: format([bytes, asFloats, scale_d, q8_0], [32, 2]),
  Q2_K: format([q2_k, asFloats, bytePairs], [8, 20], { ...SUPERBLOCK, oneScale: false }),
  Q3_K: format([q3_k, asFloats, sixBits], [12, 16], { ...SUPERBLOCK, oneScale: false }),
  Q4_K: format([nibbles, q4, asFloats, sixBits, scale_k4], [16, 16], SUPERBLOCK),
  Q5_K: format([q5, asFloats, sixBits, scale_k4], [20, 16], SUPERBLOCK),
  Q6_K: format([q6_k, asFloats, bytePairs], [24, 20], { ...SUPERBLOCK, oneScale: false }),
  IQ4_NL: format([nibbles, iq4, scale_d, d], [16, 2], { offset: false }),
  IQ4_XS: format([nibbles, iq4, iq4_xs], [16, 8], { ...SUPERBLOCK, offset: false }),
  MXFP4: format([nibbles, mxfp4, asFloats, scale_power], [16, 1]),
  MLX4_64: format([nibbles, q4, asFloats, scale_dm], [16, 4], { superSpans: 2 }),
  MLX4_128: format([nibbles, q4, asFloats, scale_dm], [16, 4], { superSpans: 4 }),
  MLX8_32: format([bytes, asFloats, scale_dm], [32, 4]),
  MLX8_64: format([bytes, asFloats, scale_dm], [32, 4], { superSpans: 2 }),
  MLX8_128: format([bytes, asFloats, scale_dm], [32, 4], { superSpans: 4 }),
};

/**
 * Returns the format of a type for kernels whose lanes share workgroup memory: matmul_lanes.wgsl.
 */
export function laneFormat(type: TensorType): DeviceFormat {
  const format = DEVICE_FORMATS[type];
  switch (type) {
    case "IQ4_NL":
      return tabled(format, QUANT_VALUES.IQ4, [scale_d, d]);
    case "IQ4_XS":
      return tabled(format, QUANT_VALUES.IQ4, [iq4_xs]);
    case "MXFP4":
      // The values in ggml's table are doubled.
      return tabled(format, QUANT_VALUES.MXFP4.map((value) => value / 2), [scale_power, d]);
    default:
      return { ...format, wgsl: [...format.wgsl, noTable] };
  }
}

function tabled(
  format: DeviceFormat,
  values: readonly number[],
  scales: readonly string[],
): DeviceFormat {
  const table = `const VALUES = array<f32, 16>(${values.join(", ")});`;
  return { ...format, table: true, offset: false, wgsl: [nibbles, table, valueTable, ...scales] };
}

/**
 * Returns the `const` lines that matmul_dots.wgsl needs for a type whose quants are integers of up
 * to eight bits. Returns undefined if the weights are floats or indices into a table.
 */
export function dotConstants(type: TensorType): string | undefined {
  switch (type) {
    case "F32":
    case "F16":
    case "BF16":
    case "IQ4_NL":
    case "IQ4_XS":
    case "MXFP4":
      return undefined;
    case "Q8_0":
    case "MLX8_32":
    case "MLX8_64":
    case "MLX8_128":
      // Their bytes are unsigned, but packed dot products need signed bytes.
      return "const FLIPPED = 0x80808080u;\nconst BYTE_OFFSET = 128.0;";
    default:
      return "const FLIPPED = 0u;\nconst BYTE_OFFSET = 0.0;";
  }
}

/** Returns the `const` lines that kernels of a format need before layout.wgsl. */
export function formatConstants(format: DeviceFormat): string {
  const { superSpans, scaleWords, offset, oneScale } = format;
  return [
    `const SUPER = ${superSpans}u;`,
    `const SCALED = ${scaleWords > 0};`,
    `const OFFSET = ${offset};`,
    `const ONE_SCALE = ${oneScale};`,
    `const HALVES = ${oneScale ? 1 : 2}u;`,
  ].join("\n");
}
