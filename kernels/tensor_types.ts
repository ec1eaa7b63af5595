/**
 * The packed weight formats. A group is the unit that a format packs: the weights that share a
 * scale or, for formats with superblocks, a superblock of 256 weights. (ggml calls both a block.)
 */

/** Name of a packed weight format. */
export type TensorType = GgmlType | MlxType;

/** Formats that ggml defines. */
export type GgmlType =
  | "F32"
  | "F16"
  | "BF16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "IQ4_NL"
  | "IQ4_XS"
  | "MXFP4";

/**
 * Formats of MLX, named by the bits per quant and the weights per group. A group is its scale and
 * its bias in float16, then its unsigned quants: as bytes or, with four bits, every 32 of them as
 * in Q4_1. w = scale · q + bias. Four bits in groups of 32 are Q4_1.
 */
export type MlxType = "MLX4_64" | "MLX4_128" | "MLX8_32" | "MLX8_64" | "MLX8_128";

/** Weights per group, and bytes per group, of one format. */
export interface GroupLayout {
  readonly weights: number;
  readonly bytes: number;
}

/** Source: ggml-common.h (`block_q4_0` and the others) of ggml, and its type-size table. */
export const GGML_LAYOUT: Readonly<Record<GgmlType, GroupLayout>> = {
  F32: { weights: 1, bytes: 4 },
  F16: { weights: 1, bytes: 2 },
  BF16: { weights: 1, bytes: 2 },
  Q4_0: { weights: 32, bytes: 18 },
  Q4_1: { weights: 32, bytes: 20 },
  Q5_0: { weights: 32, bytes: 22 },
  Q5_1: { weights: 32, bytes: 24 },
  Q8_0: { weights: 32, bytes: 34 },
  Q2_K: { weights: 256, bytes: 84 },
  Q3_K: { weights: 256, bytes: 110 },
  Q4_K: { weights: 256, bytes: 144 },
  Q5_K: { weights: 256, bytes: 176 },
  Q6_K: { weights: 256, bytes: 210 },
  IQ4_NL: { weights: 32, bytes: 18 },
  IQ4_XS: { weights: 256, bytes: 136 },
  MXFP4: { weights: 32, bytes: 17 },
};

/**
 * The values that the sixteen quants of the non-linear formats represent. Source: kvalues_iq4nl and
 * kvalues_mxfp4 of ggml-common.h; the latter are twice the values of OCP's E2M1.
 */
export const QUANT_VALUES = {
  IQ4: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
  MXFP4: [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12],
} as const;

/** The group layout of every format. */
export const GROUP_LAYOUT: Readonly<Record<TensorType, GroupLayout>> = {
  ...GGML_LAYOUT,
  MLX4_64: { weights: 64, bytes: 36 },
  MLX4_128: { weights: 128, bytes: 68 },
  MLX8_32: { weights: 32, bytes: 36 },
  MLX8_64: { weights: 64, bytes: 68 },
  MLX8_128: { weights: 128, bytes: 132 },
};

/** Returns the bytes of `count` weights in `type`; `count` must be a whole number of groups. */
export function packedBytes(type: TensorType, count: number): number {
  const { weights, bytes } = GROUP_LAYOUT[type];
  if (count % weights !== 0) {
    throw new RangeError(
      `Cannot pack ${count} weights as ${type}: not a multiple of the group size ${weights}`,
    );
  }
  return count / weights * bytes;
}
