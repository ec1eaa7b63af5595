/**
 * Scales float16 values up so that few or none are subnormal. A float16 has a sign bit, five
 * exponent bits and ten mantissa bits.
 */

import {
  type Code,
  FunctionBuilder,
  get,
  i32,
  lane,
  load,
  type Local,
  ModuleBuilder,
  op,
  set,
  splatF32,
  splatI32,
  store,
  storeLane,
  vector,
  when,
} from "./assembler.ts";
import { acrossLanes, HALF_FACTOR, loadHalves, whileCount } from "./math.ts";

/** Mask of the exponents of eight float16 values. */
export const HALF_EXPONENTS = vector(new Uint8Array(new Uint16Array(8).fill(0x7c00).buffer));

/** Largest exponent of a finite float16 value. */
const LARGEST_EXPONENT = 30;

/**
 * Adds a function (start, count, stride, vectors) that scales float16 values up by the largest
 * power of two that keeps them all finite. It scales `vectors` · 4 values at each of `count`
 * places, `stride` bytes apart. The function returns the factor that `undoing` describes.
 */
export function addNormalize(module: ModuleBuilder): number {
  const { address } = module;
  return module.add(
    [address, "i32", address, "i32"],
    ["v128"],
    (f, [start, count, stride, vectors]) => {
      const at = f.local(address), place = f.local(address), most = f.local("v128");
      const value = f.local("v128"), shift = f.local("i32"), left = f.local("i32");
      const vector = f.local("i32");
      const EXPONENT = splatI32(0x0f800000);
      const each = (body: Code) => [
        ...set(place, get(start!)),
        ...set(left, get(count!)),
        ...whileCount(left, 1, [
          ...set(at, get(place)),
          ...set(vector, get(vectors!)),
          ...whileCount(vector, 1, [
            body,
            ...set(at, module.plus(get(at), module.addressConst(8))),
          ]),
          ...set(place, module.plus(get(place), get(stride!))),
        ]),
      ];
      return [
        ...set(most, splatI32(0)),
        ...each(
          set(
            most,
            op("i32x4.max_s", get(most), op("v128.and", loadHalves(f, get(at), 0), EXPONENT)),
          ),
        ),
        ...acrossLanes(most, (a, b) => op("i32x4.max_s", a, b)),
        ...set(
          shift,
          op(
            "i32.sub",
            i32(LARGEST_EXPONENT),
            op("i32.shr_u", lane("i32x4.extract_lane", get(most), 0), i32(23)),
          ),
        ),
        ...each([
          ...scaled(f, { at, offset: 0, value, factor: powerOfTwo(get(shift)) }),
        ]),
        ...undoing(shift),
      ];
    },
  );
}

/**
 * Adds a function (start, count, exponents) that does the same with `count` · 8 contiguous float16
 * values. Some lane of `exponents` contains the largest of their exponents.
 */
export function addNormalizeRow(module: ModuleBuilder): number {
  const { address } = module;
  return module.add([address, "i32", "v128"], ["v128"], (f, [at, count, exponents]) => {
    const shift = f.local("i32"), other = f.local("i32");
    const value = f.local("v128"), factor = f.local("v128"), added = f.local("v128");
    const exponent = (i: number) =>
      op("i32.shr_u", lane("i16x8.extract_lane_u", get(exponents!), i), i32(10));
    return [
      ...acrossLanes(exponents!, (a, b) => op("i16x8.max_u", a, b)),
      ...set(shift, op("i32.sub", i32(LARGEST_EXPONENT), exponent(0))),
      ...set(other, op("i32.sub", i32(LARGEST_EXPONENT), exponent(1))),
      ...when(op("i32.lt_u", get(other), get(shift)), set(shift, get(other))),
      ...set(factor, powerOfTwo(get(shift))),
      ...set(added, op("i16x8.splat", op("i32.shl", get(shift), i32(10)))),
      ...whileCount(count!, 1, [
        ...set(value, load("v128.load", get(at!))),
        ...when(
          // Without zeros and subnormal values, only the exponents change.
          op("i16x8.all_true", op("v128.and", get(value), HALF_EXPONENTS)),
          store("v128.store", get(at!), 0, op("i16x8.add", get(value), get(added))),
          [0, 8].flatMap((offset) => scaled(f, { at: at!, offset, value, factor: get(factor) })),
        ),
        ...set(at!, module.plus(get(at!), module.addressConst(16))),
      ]),
      ...undoing(shift),
    ];
  });
}

/** Multiplies four float16 values by a power of two, in place. */
function scaled(
  f: FunctionBuilder,
  { at, offset, value, factor }: {
    readonly at: Local;
    readonly offset: number;
    /** A local that is overwritten. */
    readonly value: Local;
    readonly factor: Code;
  },
): Code {
  return [
    ...set(value, op("f32x4.mul", loadHalves(f, get(at), offset), factor)),
    // The sign is bit 31, the other bits of the float16 are 13–27.
    ...set(
      value,
      op(
        "v128.or",
        op("v128.and", op("i32x4.shr_s", get(value), i32(13)), splatI32(0x7fff)),
        op("v128.and", op("i32x4.shr_u", get(value), i32(16)), splatI32(0x8000)),
      ),
    ),
    ...storeLane("v128.store64_lane", get(at), {
      offset,
      value: op("i16x8.narrow_i32x4_u", get(value), get(value)),
      lane: 0,
    }),
  ];
}

/**
 * Returns the factor by which a value read by `loadHalves` is multiplied to get the real number: it
 * undoes the shift of the exponents and includes HALF_FACTOR.
 */
function undoing(shift: Local): Code {
  return op("f32x4.mul", splatF32(HALF_FACTOR), powerOfTwo(op("i32.sub", i32(0), get(shift))));
}

/** Returns 2^exponent in each of four lanes. */
function powerOfTwo(exponent: Code): Code {
  return op("i32x4.splat", op("i32.shl", op("i32.add", exponent, i32(127)), i32(23)));
}
