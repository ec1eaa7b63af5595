/** Arithmetic on single numbers and vectors that several kernels share. */

import {
  type Code,
  f32,
  FunctionBuilder,
  get,
  i32,
  lane,
  load,
  type Local,
  ModuleBuilder,
  op,
  set,
  shuffle32,
  splatF32,
  splatI32,
  tee,
  whileLoop,
} from "./assembler.ts";
import type { ProductForm } from "./products.ts";

/**
 * Returns e^x · 2^scale in each of four lanes, with a relative error below 2⁻²². `x` is clamped to
 * −87 … 88. With a `scale`, `x` must be at most 0. `form` must be "plain" unless products may be
 * added without rounding them first.
 */
export function exponential(
  f: FunctionBuilder,
  x: Code,
  { scale = 0, form = "plain" }: { readonly scale?: number; readonly form?: ProductForm } = {},
): Code {
  const n = f.local("v128"), rest = f.local("v128");
  // pmin and pmax are one instruction each, and keep a NaN of `x`.
  const clamped = op(
    "f32x4.pmin",
    op("f32x4.pmax", x, f.constant(splatF32(-87))),
    f.constant(splatF32(88)),
  );
  const minus = (value: Code, factor: number) =>
    multiplyAdd(form, get(n), f.constant(splatF32(-factor)), value);
  // e^r for |r| ≤ ln 2 / 2, by its power series. ln 2 is subtracted in two parts, the first with
  // few bits.
  const series = [1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1]
    .map((factor) => f.constant(splatF32(factor)))
    .reduce((sum, factor) => multiplyAdd(form, sum, get(rest), factor));
  // As a float, n + 1.5 · 2²³ has n in its lowest bits.
  const shifter = f.constant(splatF32(1.5 * 2 ** 23));
  const shifted = multiplyAdd(
    form,
    tee(rest, clamped),
    f.constant(splatF32(Math.LOG2E)),
    shifter,
  );
  const power = f.local("v128");
  return [
    ...set(n, op("f32x4.sub", tee(power, shifted), shifter)),
    ...set(rest, minus(minus(get(rest), 0.693359375), -2.12194440e-4)),
    ...op(
      "f32x4.mul",
      series,
      op("i32x4.shl", op("i32x4.add", get(power), f.constant(splatI32(127 + scale))), i32(23)),
    ),
  ];
}

/**
 * Returns ln(1 + u) in each of four lanes, for u from 0 to 1: 2 artanh(u / (2 + u)), by its power
 * series.
 */
export function logOnePlus(f: FunctionBuilder, u: Code): Code {
  const s = f.local("v128"), square = f.local("v128"), x = f.local("v128");
  const series = [17, 15, 13, 11, 9, 7, 5, 3, 1]
    .map((n) => f.constant(splatF32(2 / n)))
    .reduce((sum, factor) => op("f32x4.add", op("f32x4.mul", sum, get(square)), factor));
  return [
    ...set(x, u),
    ...set(s, op("f32x4.div", get(x), op("f32x4.add", get(x), f.constant(splatF32(2))))),
    ...set(square, op("f32x4.mul", get(s), get(s))),
    ...op("f32x4.mul", get(s), series),
  ];
}

/** Returns `times` / (1 + e^−x). If `times` is x, this is silu(x). */
export function sigmoidTimes(f: FunctionBuilder, x: Local, times: Code): Code {
  return op(
    "f32x4.div",
    times,
    op("f32x4.add", f.constant(splatF32(1)), exponential(f, op("f32x4.neg", get(x)))),
  );
}

/**
 * Mask of a float16 in a float32: the sign in bit 31, the exponent in bits 23–27, at the end of the
 * float32's exponent, and the mantissa in bits 13–22.
 */
const HALF_BITS = splatI32(0x8fffe000 | 0);

/** Loads four float16 as float32 that are too small by HALF_FACTOR: the exponent is not rebased. */
export function loadHalves(f: FunctionBuilder, address: Code, offset: number): Code {
  const spread = op("i32x4.shl", load("v128.load16x4_s", address, offset), i32(13));
  return op("v128.and", spread, f.constant(HALF_BITS));
}

/** Does the same with the float16 in the upper 16 bits of each lane. */
export function upperHalves(f: FunctionBuilder, pairs: Code): Code {
  return op("v128.and", op("i32x4.shr_s", pairs, i32(3)), f.constant(HALF_BITS));
}

/** log2 of the factor that `loadHalves` omits. */
export const HALF_SCALE = 112;
export const HALF_FACTOR = 2 ** HALF_SCALE;

/** a · b + c. */
export function multiplyAdd(
  form: ProductForm,
  ...[a, b, c]: readonly [Code, Code, Code]
): Code {
  return form === "plain"
    ? op("f32x4.add", op("f32x4.mul", a, b), c)
    : op("f32x4.relaxed_madd", a, b, c);
}

/** Combines the four lanes of a vector with `join`, and sets every lane to the result. */
export function acrossLanes(vector: Local, join: (a: Code, b: Code) => Code): Code {
  return [
    ...set(vector, join(get(vector), shuffle32(get(vector), get(vector), [2, 3, 0, 1]))),
    ...set(vector, join(get(vector), shuffle32(get(vector), get(vector), [1, 0, 3, 2]))),
  ];
}

export const firstLane = (vector: Local): Code => lane("f32x4.extract_lane", get(vector), 0);

/**
 * Adds a function f32 → i32 that rounds to the nearest float16. Numbers that are too large become
 * the largest finite one.
 */
export function addToHalf(module: ModuleBuilder): number {
  return module.add(["f32"], ["i32"], (f, [x]) => {
    const bits = f.local("i32"), half = f.local("i32");
    const LARGEST = 0x7bff;
    const magnitude = op("i32.and", get(bits), i32(0x7fffffff));
    return [
      ...set(bits, op("i32.reinterpret_f32", get(x!))),
      // Multiplied by 2^−112, a number has a float16's exponent, and a subnormal one also has its
      // bits.
      ...set(
        half,
        op(
          "i32.reinterpret_f32",
          op("f32.mul", op("f32.reinterpret_i32", magnitude), f32(2 ** -112)),
        ),
      ),
      ...set(
        half,
        op(
          "i32.shr_u",
          op(
            "i32.add",
            op("i32.add", get(half), i32(0xfff)),
            op("i32.and", op("i32.shr_u", get(half), i32(13)), i32(1)),
          ),
          i32(13),
        ),
      ),
      ...op(
        "i32.or",
        [
          ...get(half),
          ...i32(LARGEST),
          ...op("i32.lt_u", get(half), i32(LARGEST)),
          ...op("select"),
        ],
        op("i32.and", op("i32.shr_u", get(bits), i32(16)), i32(0x8000)),
      ),
    ];
  });
}

/** Adds a function (from, count, epsilon) that returns 1 / sqrt(Σ x² / count + ε). */
export function addRootMean(module: ModuleBuilder): number {
  return module.add([module.address, "i32", "f32"], ["f32"], (f, [from, count, epsilon]) => {
    const sum = f.local("v128"), x = f.local("v128"), left = f.local("i32");
    const single = f.local("f32"), total = f.local("f32");
    const move = (bytes: number) => set(from!, module.plus(get(from!), module.addressConst(bytes)));
    return [
      ...set(sum, splatF32(0)),
      ...set(left, op("i32.and", get(count!), i32(-4))),
      ...whileCount(left, 4, [
        ...set(x, load("v128.load", get(from!))),
        ...set(sum, op("f32x4.add", get(sum), op("f32x4.mul", get(x), get(x)))),
        ...move(16),
      ]),
      ...acrossLanes(sum, (a, b) => op("f32x4.add", a, b)),
      ...set(total, firstLane(sum)),
      ...set(left, op("i32.and", get(count!), i32(3))),
      ...whileCount(left, 1, [
        ...set(single, load("f32.load", get(from!))),
        ...set(total, op("f32.add", get(total), op("f32.mul", get(single), get(single)))),
        ...move(4),
      ]),
      ...op(
        "f32.div",
        f32(1),
        op(
          "f32.sqrt",
          op(
            "f32.add",
            op("f32.div", get(total), op("f32.convert_i32_u", get(count!))),
            get(epsilon!),
          ),
        ),
      ),
    ];
  });
}

/**
 * Repeats `body` while `count` is more than 0, and subtracts `step` from `count` after each
 * iteration.
 */
export function whileCount(count: Local, step: number, body: Code): Code {
  return whileLoop(
    op("i32.gt_s", get(count), i32(0)),
    body,
    set(count, op("i32.sub", get(count), i32(step))),
  );
}
