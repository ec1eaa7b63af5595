/**
 * Activations as the integer kernels read them: 16-bit integers with one scale per span of 32,
 * precise enough for results as good as with float32. Each span is a record of 96 bytes: 64 bytes
 * of integers, then the fields of `RECORD`.
 *
 * - "planes": the high bytes and the low bytes, 32 each: q = 256 · high + low, both signed.
 * - "offset": 14 bits, q + 8192 = 128 · high + low, both 0 … 127. It is for signed weights of 8
 *   bits, because one operand of the relaxed dot product must be unsigned and have 7 bits.
 * - "words": 16-bit integers, for the plain dot product.
 */

import {
  type Code,
  f32,
  FunctionBuilder,
  get,
  i32,
  lane,
  load,
  type Local,
  type ModuleBuilder,
  op,
  set,
  shuffle32,
  splatI32,
  store,
  tee,
  whileLoop,
} from "./assembler.ts";

export type ActivationKind = "planes" | "offset" | "words";

export const RECORD_BYTES = 96;

/**
 * Byte offsets in a record. `sums`: the sum of the activations of each half of the span; if the
 * weights have one scale per span, the first is the sum of all 32. `corrections`: −zero · the sums
 * of the integers.
 */
export const RECORD = { scale: 64, sums: [68, 72], corrections: [76, 80] } as const;

/** The encoding of activations for one kind of weights. */
export interface Encoding {
  readonly kind: ActivationKind;
  readonly group: 16 | 32;
  readonly zero: number;
}

export function encodingKey({ kind, group, zero }: Encoding): string {
  return `${kind}${group}/${zero}`;
}

/**
 * Largest magnitude of an integer: the largest that two signed bytes can represent (127 · 257), and
 * for "offset" the largest in 14 bits.
 */
const LARGEST = { planes: 32639, words: 32639, offset: 8191 } as const;

/**
 * Adds a function (from: address of [spans · 32] float32, to: address, spans: i32) that encodes
 * spans.
 */
export function addEncoder(module: ModuleBuilder, encoding: Encoding): number {
  return module.add([module.address, module.address, "i32"], [], (f, [from, to, spans]) => {
    const x = f.locals("v128", 8);
    const most = f.local("v128"), inverse = f.local("f32");
    const q = f.locals("v128", 8);
    return whileLoop(
      get(spans),
      ...x.map((v, i) => set(v, load("v128.load", get(from), 16 * i))),
      // Without their sign bits, floats compare like integers. NaN is the largest, so it is not
      // lost.
      set(
        most,
        x.map((v) => op("v128.and", get(v), f.constant(splatI32(0x7fffffff)))).reduce(largest),
      ),
      set(most, largest(get(most), shuffle32(get(most), get(most), [2, 3, 0, 1]))),
      set(most, largest(get(most), shuffle32(get(most), get(most), [1, 0, 3, 2]))),
      set(inverse, lane("f32x4.extract_lane", get(most), 0)),
      store(
        "f32.store",
        get(to),
        RECORD.scale,
        op("f32.mul", get(inverse), f32(1 / LARGEST[encoding.kind])),
      ),
      // If all values are 0, the inverse is infinite, and 0 · infinity converts to the integer 0.
      set(inverse, op("f32.div", f32(LARGEST[encoding.kind]), get(inverse))),
      ...q.map((v, i) =>
        set(
          v,
          op(
            "i32x4.trunc_sat_f32x4_s",
            op("f32x4.nearest", op("f32x4.mul", get(x[i]!), op("f32x4.splat", get(inverse)))),
          ),
        )
      ),
      writeSums(f, encoding, { q, to }),
      writeIntegers(f, encoding.kind, { q, to }),
      set(from, module.plus(get(from), module.addressConst(128))),
      set(to, module.plus(get(to), module.addressConst(RECORD_BYTES))),
      set(spans, op("i32.sub", get(spans), i32(1))),
    );
  });
}

function largest(a: Code, b: Code): Code {
  return op("i32x4.max_s", a, b);
}

function writeSums(
  f: FunctionBuilder,
  { group, zero }: Encoding,
  { q, to }: { readonly q: readonly Local[]; readonly to: Local },
): Code {
  const sum = f.local("v128"), total = f.local("i32");
  const parts = group === 32 ? [q] : [q.slice(0, 4), q.slice(4)];
  return parts.flatMap((part, i) => [
    ...set(sum, part.map(get).reduce((a, b) => op("i32x4.add", a, b))),
    ...set(sum, op("i32x4.add", get(sum), shuffle32(get(sum), get(sum), [2, 3, 0, 1]))),
    ...set(sum, op("i32x4.add", get(sum), shuffle32(get(sum), get(sum), [1, 0, 3, 2]))),
    ...set(total, lane("i32x4.extract_lane", get(sum), 0)),
    ...store(
      "f32.store",
      get(to),
      RECORD.sums[i]!,
      op("f32.mul", op("f32.convert_i32_s", get(total)), load("f32.load", get(to), RECORD.scale)),
    ),
    ...store("i32.store", get(to), RECORD.corrections[i]!, op("i32.mul", get(total), i32(-zero))),
  ]);
}

function writeIntegers(
  f: FunctionBuilder,
  kind: ActivationKind,
  { q, to }: { readonly q: readonly Local[]; readonly to: Local },
): Code {
  const high = f.locals("v128", 8);
  const words = (v: readonly Local[], i: number) =>
    op("i16x8.narrow_i32x4_s", get(v[i]!), get(v[i + 1]!));
  const bytes = (v: readonly Local[], i: number) =>
    op("i8x16.narrow_i16x8_s", words(v, i), words(v, i + 2));
  const write = (v: readonly Local[], at: number): Code => [
    ...store("v128.store", get(to), at, bytes(v, 0)),
    ...store("v128.store", get(to), at + 16, bytes(v, 4)),
  ];
  if (kind === "words") {
    return [0, 2, 4, 6].flatMap((i) => store("v128.store", get(to), 8 * i, words(q, i)));
  }
  const [bits, shift] = kind === "planes" ? [8, 128] : [7, 8192];
  return [
    ...q.flatMap((v, i) => {
      // In "planes" the high part is rounded to nearest, which makes the low part signed.
      const shifted = op("i32x4.add", get(v), f.constant(splatI32(shift)));
      return kind === "planes"
        ? [
          ...set(high[i]!, op("i32x4.shr_s", shifted, i32(bits))),
          ...set(v, op("i32x4.sub", get(v), op("i32x4.shl", get(high[i]!), i32(bits)))),
        ]
        : [
          ...set(high[i]!, op("i32x4.shr_s", tee(v, shifted), i32(bits))),
          ...set(v, op("v128.and", get(v), f.constant(splatI32(127)))),
        ];
    }),
    ...write(high, 0),
    ...write(q, 32),
  ];
}
