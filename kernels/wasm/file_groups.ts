/**
 * Code that reads the quantization groups of each packed format in vectors, as
 * kernels/dequantize.ts does value by value. Source of the layouts: ggml-common.h and ggml-quants.c
 * of ggml; those of MLX are ours.
 */

import {
  type Code,
  type FunctionBuilder,
  i32,
  load,
  op,
  shuffle,
  splatI8,
  vector,
} from "./assembler.ts";
import type { TensorType } from "../tensor_types.ts";

/** The address of a group, and the function that reads it. Constants go through `f.constant`. */
interface GroupCode {
  readonly f: FunctionBuilder;
  readonly row: Code;
}

/** How to read one quantization group of a row. */
export interface FileGroup {
  /** Returns the 32 quants of part `part` of the group, in two vectors of bytes. */
  quants(code: GroupCode, part: number): [Code, Code];
  /** Byte offsets of the group's float16 scale (or its exponent) and minimum. */
  readonly scaleAt: number;
  readonly minimumAt?: number;
  /**
   * Return the integer scale and minimum of part `group` of a superblock, if the format has them.
   */
  scale?(row: Code, group: number): Code;
  minimum?(row: Code, group: number): Code;
}

const LOW = splatI8(15);
const and = (a: Code, b: Code): Code => op("v128.and", a, b);
const or = (a: Code, b: Code): Code => op("v128.or", a, b);
const right = (a: Code, bits: number): Code => bits === 0 ? a : op("i8x16.shr_u", a, i32(bits));
const left = (a: Code, bits: number): Code => bits === 0 ? a : op("i8x16.shl", a, i32(bits));
const bytesAt = (row: Code, at: number): Code => load("v128.load", row, at);
const byteAt = (row: Code, at: number): Code => load("i32.load8_u", row, at);

/** Unpacks 32 nibbles: byte j contains quants j (low half) and j + 16 (high half). */
function nibbles({ f, row }: GroupCode, at: number): [Code, Code] {
  return [and(bytesAt(row, at), f.constant(LOW)), right(bytesAt(row, at), 4)];
}

/** Returns a vector whose byte j is 16 if bit j of the 16 bits at `at` is set, otherwise 0. */
function fifthBits({ f, row }: GroupCode, at: number): Code {
  const spread = shuffle(
    load("v128.load32_zero", row, at),
    splatI8(0),
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
  );
  const bits = f.constant(vector([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]));
  return and(op("i8x16.eq", and(spread, bits), bits), f.constant(splatI8(16)));
}

function fiveBits(code: GroupCode, quantsAt: number, bitsAt: number): [Code, Code] {
  const [low, high] = nibbles(code, quantsAt);
  return [or(low, fifthBits(code, bitsAt)), or(high, fifthBits(code, bitsAt + 2))];
}

const mlx4: FileGroup = {
  scaleAt: 0,
  minimumAt: 2,
  quants: (code, part) => nibbles(code, 4 + 16 * part),
};

const mlx8: FileGroup = {
  scaleAt: 0,
  minimumAt: 2,
  quants: ({ f, row }, part) => {
    const signed = (at: number) => op("i8x16.sub", bytesAt(row, at), f.constant(splatI8(128)));
    return [signed(4 + 32 * part), signed(20 + 32 * part)];
  },
};

/** Read 6-bit scale and minimum `i` from the twelve bytes at offset 4 (see dequantize_k.ts). */
const sixBits = {
  scale: (row: Code, i: number): Code =>
    i < 4 ? op("i32.and", byteAt(row, 4 + i), i32(63)) : op(
      "i32.or",
      op("i32.and", byteAt(row, 8 + i), i32(15)),
      op("i32.shl", op("i32.shr_u", byteAt(row, i), i32(6)), i32(4)),
    ),
  minimum: (row: Code, i: number): Code =>
    i < 4 ? op("i32.and", byteAt(row, 8 + i), i32(63)) : op(
      "i32.or",
      op("i32.shr_u", byteAt(row, 8 + i), i32(4)),
      op("i32.shl", op("i32.shr_u", byteAt(row, 4 + i), i32(6)), i32(4)),
    ),
};

/** Unpacks the nibbles of one part. 32 bytes contain two parts, the first in their low halves. */
function pairedNibbles({ f, row }: GroupCode, at: number, part: number): [Code, Code] {
  const half = (offset: number): Code => {
    const bytes = bytesAt(row, at + 32 * (part >> 1) + offset);
    return part % 2 === 0 ? and(bytes, f.constant(LOW)) : right(bytes, 4);
  };
  return [half(0), half(16)];
}

/** Returns two bits, starting at bit `shift`, of each of 32 bytes. */
function twoBits({ f, row }: GroupCode, at: number, shift: number): [Code, Code] {
  const half = (offset: number) =>
    and(right(bytesAt(row, at + offset), shift), f.constant(splatI8(3)));
  return [half(0), half(16)];
}

/** Returns one bit of each of 32 bytes, moved to bit `to`. */
function oneBit(
  { f, row }: GroupCode,
  at: number,
  { bit, to }: { bit: number; to: number },
): [Code, Code] {
  const half = (offset: number) =>
    left(and(right(bytesAt(row, at + offset), bit), f.constant(splatI8(1))), to);
  return [half(0), half(16)];
}

function join([a, b]: [Code, Code], [c, d]: [Code, Code]): [Code, Code] {
  return [or(a, c), or(b, d)];
}

/** The groups of every quantized type. */
export const FILE_GROUPS: Readonly<Partial<Record<TensorType, FileGroup>>> = {
  Q4_0: { scaleAt: 0, quants: (code) => nibbles(code, 2) },
  Q4_1: { scaleAt: 0, minimumAt: 2, quants: (code) => nibbles(code, 4) },
  Q5_0: { scaleAt: 0, quants: (code) => fiveBits(code, 6, 2) },
  Q5_1: { scaleAt: 0, minimumAt: 2, quants: (code) => fiveBits(code, 8, 4) },
  Q8_0: { scaleAt: 0, quants: ({ row }) => [bytesAt(row, 2), bytesAt(row, 18)] },
  Q2_K: {
    scaleAt: 80,
    minimumAt: 82,
    quants: (code, part) => twoBits(code, 16 + 32 * (part >> 2), 2 * (part & 3)),
    scale: (row, group) => op("i32.and", byteAt(row, group), i32(15)),
    minimum: (row, group) => op("i32.shr_u", byteAt(row, group), i32(4)),
  },
  Q3_K: {
    scaleAt: 108,
    quants: (code, part) =>
      join(
        twoBits(code, 32 + 32 * (part >> 2), 2 * (part & 3)),
        oneBit(code, 0, { bit: part, to: 2 }),
      ),
    scale: (row, group) => {
      const low = group < 8
        ? op("i32.and", byteAt(row, 96 + group), i32(15))
        : op("i32.shr_u", byteAt(row, 88 + group), i32(4));
      const high = op(
        "i32.and",
        op("i32.shr_u", byteAt(row, 104 + (group & 3)), i32(2 * (group >> 2))),
        i32(3),
      );
      return op("i32.sub", op("i32.or", low, op("i32.shl", high, i32(4))), i32(32));
    },
  },
  Q4_K: {
    scaleAt: 0,
    minimumAt: 2,
    quants: (code, part) => pairedNibbles(code, 16, part),
    ...sixBits,
  },
  Q5_K: {
    scaleAt: 0,
    minimumAt: 2,
    quants: (code, part) =>
      join(pairedNibbles(code, 48, part), oneBit(code, 16, { bit: part, to: 4 })),
    ...sixBits,
  },
  Q6_K: {
    scaleAt: 208,
    quants: (code, part) => {
      const { f, row } = code;
      // A half has 128 weights in four runs. Runs 0 and 1 are in the low halves of bytes, runs 2
      // and 3 in the high halves.
      const half = part >> 2, run = part & 3;
      const high = twoBits(code, 128 + 32 * half, 2 * run);
      const low = (offset: number): Code => {
        const bytes = bytesAt(row, 64 * half + 32 * (run & 1) + offset);
        return run < 2 ? and(bytes, f.constant(LOW)) : right(bytes, 4);
      };
      return join([low(0), low(16)], [left(high[0], 4), left(high[1], 4)]);
    },
    scale: (row, group) => byteAt(row, 192 + group),
  },
  IQ4_NL: { scaleAt: 0, quants: (code) => nibbles(code, 2) },
  IQ4_XS: {
    scaleAt: 0,
    quants: (code, part) => nibbles(code, 8 + 16 * part),
    scale: (row, group) => {
      const low = byteAt(row, 4 + (group >> 1));
      const high = op("i32.shr_u", byteAt(row, 2 + (group >> 2)), i32(2 * (group & 3)));
      return op(
        "i32.sub",
        op(
          "i32.or",
          group % 2 === 0 ? op("i32.and", low, i32(15)) : op("i32.shr_u", low, i32(4)),
          op("i32.shl", op("i32.and", high, i32(3)), i32(4)),
        ),
        i32(32),
      );
    },
  },
  MXFP4: { scaleAt: 0, quants: (code) => nibbles(code, 1) },
  MLX4_64: mlx4,
  MLX4_128: mlx4,
  MLX8_32: mlx8,
  MLX8_64: mlx8,
  MLX8_128: mlx8,
};
