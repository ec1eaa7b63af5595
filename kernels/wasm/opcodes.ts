/**
 * The encodings of the WebAssembly instructions that the kernels use. Source: the index of
 * instructions of the WebAssembly specification 3.0 (including SIMD, relaxed SIMD and threads).
 */

const SIMD = 0xfd;
const ATOMIC = 0xfe;

/** Instructions without an immediate operand. */
export const PLAIN = {
  "unreachable": [0x00],
  "return": [0x0f],
  "drop": [0x1a],
  "select": [0x1b],
  "i32.eqz": [0x45],
  "i32.eq": [0x46],
  "i32.ne": [0x47],
  "i32.lt_s": [0x48],
  "i32.lt_u": [0x49],
  "i32.gt_s": [0x4a],
  "i32.le_s": [0x4c],
  "i32.gt_u": [0x4b],
  "i32.ge_s": [0x4e],
  "i32.ge_u": [0x4f],
  "i64.lt_u": [0x54],
  "i64.ne": [0x52],
  "f32.gt": [0x5e],
  "f32.ne": [0x5c],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.mul": [0x6c],
  "i32.div_u": [0x6e],
  "i32.rem_u": [0x70],
  "i32.and": [0x71],
  "i32.or": [0x72],
  "i32.shl": [0x74],
  "i32.shr_s": [0x75],
  "i32.shr_u": [0x76],
  "i64.add": [0x7c],
  "i64.mul": [0x7e],
  "f32.sqrt": [0x91],
  "f32.add": [0x92],
  "f32.sub": [0x93],
  "f32.mul": [0x94],
  "f32.div": [0x95],
  "f32.max": [0x97],
  "f32.convert_i32_u": [0xb3],
  "f32.convert_i32_s": [0xb2],
  "i64.extend_i32_u": [0xad],
  "f32.reinterpret_i32": [0xbe],
  "i32.reinterpret_f32": [0xbc],
  "v128.and": simd(78),
  "v128.or": simd(80),
  "v128.bitselect": simd(82),
  "v128.any_true": simd(83),
  "i8x16.splat": simd(15),
  "i8x16.eq": simd(35),
  "i8x16.narrow_i16x8_s": simd(101),
  "i8x16.shr_u": simd(109),
  "i8x16.add": simd(110),
  "i8x16.sub": simd(113),
  "i8x16.shl": simd(107),
  "f32x4.nearest": simd(106),
  "i32x4.extadd_pairwise_i16x8_s": simd(126),
  "i16x8.narrow_i32x4_s": simd(133),
  "i16x8.narrow_i32x4_u": simd(134),
  "i16x8.extend_low_i8x16_s": simd(135),
  "i16x8.extend_high_i8x16_s": simd(136),
  "i16x8.extend_low_i8x16_u": simd(137),
  "i16x8.shl": simd(139),
  "i16x8.shr_u": simd(141),
  "i16x8.add": simd(142),
  "i16x8.max_u": simd(153),
  "i16x8.all_true": simd(131),
  "i16x8.splat": simd(16),
  "i32x4.splat": simd(17),
  "i32x4.extend_low_i16x8_s": simd(167),
  "i32x4.extend_high_i16x8_s": simd(168),
  "i32x4.extend_low_i16x8_u": simd(169),
  "i32x4.shl": simd(171),
  "i32x4.shr_s": simd(172),
  "i32x4.shr_u": simd(173),
  "i32x4.add": simd(174),
  "i32x4.sub": simd(177),
  "i32x4.gt_s": simd(59),
  "i32x4.lt_s": simd(57),
  "i32x4.min_s": simd(182),
  "i32x4.max_s": simd(184),
  "i32x4.dot_i16x8_s": simd(186),
  "f32x4.splat": simd(19),
  "f32x4.eq": simd(65),
  "i8x16.swizzle": simd(14),
  "f32x4.gt": simd(68),
  "f32x4.abs": simd(224),
  "f32x4.neg": simd(225),
  "f32x4.add": simd(228),
  "f32x4.sub": simd(229),
  "f32x4.mul": simd(230),
  "f32x4.div": simd(231),
  "f32x4.min": simd(232),
  "f32x4.max": simd(233),
  "f32x4.pmin": simd(234),
  "f32x4.pmax": simd(235),
  "i32x4.trunc_sat_f32x4_s": simd(248),
  "f32x4.convert_i32x4_s": simd(250),
  "f32x4.relaxed_madd": simd(0x105),
  "i16x8.relaxed_dot_i8x16_i7x16_s": simd(0x112),
  "i32x4.relaxed_dot_i8x16_i7x16_add_s": simd(0x113),
} as const satisfies Record<string, readonly number[]>;

/**
 * Loads and stores, whose immediates are an alignment and an offset: their bytes, and log2 of the
 * alignment.
 */
export const MEMORY = {
  "i32.load": [[0x28], 2],
  "i64.load": [[0x29], 3],
  "f32.load": [[0x2a], 2],
  "i32.load8_u": [[0x2d], 0],
  "i32.load16_u": [[0x2f], 1],
  "i32.store": [[0x36], 2],
  "f32.store": [[0x38], 2],
  "i32.store8": [[0x3a], 0],
  "i32.store16": [[0x3b], 1],
  "v128.load": [simd(0), 2],
  "v128.load8x8_u": [simd(2), 2],
  "v128.load16x4_s": [simd(3), 1],
  "v128.load16x4_u": [simd(4), 1],
  "v128.load32_splat": [simd(9), 2],
  "v128.load64_splat": [simd(10), 2],
  "v128.load32_zero": [simd(92), 0],
  "v128.load64_zero": [simd(93), 1],
  "v128.store": [simd(11), 2],
  "i32.atomic.load": [[ATOMIC, 0x10], 2],
  "i32.atomic.store": [[ATOMIC, 0x17], 2],
  "i32.atomic.rmw.add": [[ATOMIC, 0x1e], 2],
  "memory.atomic.notify": [[ATOMIC, 0x00], 2],
  "memory.atomic.wait32": [[ATOMIC, 0x01], 2],
} as const satisfies Record<string, readonly [readonly number[], number]>;

/**
 * Loads and stores of one lane, whose immediates are an alignment, an offset and the lane index.
 */
export const MEMORY_LANE = {
  "v128.store16_lane": [simd(89), 1],
  "v128.store32_lane": [simd(90), 2],
  "v128.store64_lane": [simd(91), 3],
} as const satisfies Record<string, readonly [readonly number[], number]>;

/** Instructions whose immediate is a lane index. */
export const LANE = {
  "i32x4.extract_lane": simd(27),
  "i16x8.extract_lane_u": simd(25),
  "f32x4.extract_lane": simd(31),
} as const satisfies Record<string, readonly number[]>;

export const SHUFFLE = simd(13);
export const VECTOR_CONST = simd(12);

function simd(code: number): readonly number[] {
  return [SIMD, ...(code < 0x80 ? [code] : [code & 0x7f | 0x80, code >> 7])];
}
